"""Stage 1: trains the transformer to continue a clip from motion frames, portrait, speech, caption.

Report section 3. VAE, speech and image encoder are the checkpoint's and are frozen. Transformer and
text encoder are the checkpoint's too, and the transformer is trained; or both are random and both
are trained.

Legend: B batch, C latent channels, F latent frames, h w latent size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from flashtalk.diffusion.condition import reference_condition
from flashtalk.engine.sampling import SAMPLING_FILE, Sampling, save_sampling
from flashtalk.errors import InputError
from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.dit.model import DiT
from flashtalk.models.dit.weights import WEIGHTS_STEM
from flashtalk.models.umt5.config import TextConfig
from flashtalk.models.umt5.model import TextEncoder
from training.core.board import Board
from training.core.config import TrainerConfig
from training.core.draws import SharedDraws
from training.core.sharding import ShardPlan
from training.core.task import OneLoss, StepContext
from training.core.world import World
from training.data.batch import Stage1Batch
from training.data.cache import VideoPlan
from training.data.mouth import mouth_cells
from training.data.sampler import ClipOdds, Stage1Sampler
from training.data.source.splits import Split, open_sources, with_truth
from training.data.source.synthtalk import SynthTalkSource
from training.data.source.video import KnowsMouths
from training.models import FrozenModels, Models
from training.objective.conditions import Conditions
from training.objective.flow_matching import (
    Corruption,
    CorruptionRates,
    VelocityErrors,
    draw_corruption,
    noised_input,
)
from training.objective.motion_jitter import NO_JITTER, MotionJitter
from training.objective.velocity import velocity
from training.places import Places
from training.tasks.captions import Prompter, captions_of, copy_tokenizer, learned_tokenizer
from training.tasks.export import save_model
from training.tasks.samples import SampleConfig, sample_report
from training.tasks.split_caches import build_caches
from training.tasks.start import StartConfig, start_from

UNDISTURBED = CorruptionRates(noisy_motion=0.0, drop_audio=0.0, drop_text=0.0, drop_both=0.0)
TEXT_ROLE = "umt5"


@dataclass(frozen=True)
class FreshNetworks:
    """Sizes of a random transformer and text encoder."""

    model: DiTConfig
    text: TextConfig


@dataclass(frozen=True)
class Stage1Recipe:
    """Fields of the recipes of Stage 1.

    Args:
        trainer: length, optimizer and so on.
        preset: of the checkpoint folder (``--weights``).
        fresh: None trains the checkpoint's own transformer.
        start: overlays on the checkpoint's own transformer: with Wan2.1 as the checkpoint, the
            audio tensors of InfiniteTalk, as the report starts.
        videos: what to cache of them.
        odds: frequencies of kinds of clips.
        rates: noise levels and dropped conditions.
        mouth_weight: weight of latent cells with the mouth in the loss; 1 in the report's loss.
            Small frames have few such cells. Other than 1 it needs videos with known mouth
            positions.
        jitter: errors in the motion latents (``objective.motion_jitter``).
        samples: videos of an evaluation; None: none. They need rendered data.
        negative_prompt: prompt for dropped text.
        role: folder of the finished transformer.
        batch: of all ranks together.
        bf16: computes in bfloat16 with float32 weights.
        checkpointing: as in ``ShardPlan``.
        eval_clips: number of held-out clips.
        device_gb: memory of one device, for the plan, 10^9 bytes; 0: no plan.
    """

    trainer: TrainerConfig
    preset: str = "flashtalk-14b"
    fresh: FreshNetworks | None = None
    start: StartConfig = field(default_factory=StartConfig)
    videos: VideoPlan = field(default_factory=VideoPlan)
    odds: ClipOdds = field(default_factory=ClipOdds)
    rates: CorruptionRates = field(default_factory=CorruptionRates)
    mouth_weight: float = 1.0
    jitter: MotionJitter = NO_JITTER
    samples: SampleConfig | None = None
    negative_prompt: str = ""
    role: str = "dit"
    batch: int = 8
    bf16: bool = False
    checkpointing: bool = False
    eval_clips: int = 64
    device_gb: float = 0.0

    def task(self, places: Places, world: World) -> Stage1Task:
        """Returns the task of this recipe."""
        return Stage1Task(self, places, world)


class Stage1Task(OneLoss):
    """Trains the transformer, and a fresh text encoder with it, on cached clips."""

    def __init__(self, recipe: Stage1Recipe, places: Places, world: World) -> None:
        self.recipe, self.places, self.world = recipe, places, world
        self.sources = open_sources(places.data_dir)
        if recipe.mouth_weight != 1.0 and not self._know_mouths:
            limit = "must be 1: these videos have no mouth positions"
            raise InputError("mouth_weight", recipe.mouth_weight, limit)
        if recipe.samples is not None:
            self.truth: SynthTalkSource = with_truth(self.sources["val"], "samples")
        plan, fresh = ShardPlan(recipe.bf16, recipe.checkpointing), recipe.fresh
        folder = places.weights_dir
        if fresh is None:
            overlays = recipe.start.overlays()
            self.models = Models.open(recipe.preset, folder, world, plan, overlays=overlays)
        else:
            recipe.start.check_fresh()
            self.models = Models.unfinished(folder, world, plan, fresh.model, fresh.text)
        self.spec = self.models.checkpoint.spec
        if recipe.device_gb:
            self.models.show_memory(
                ("transformer",),
                (),
                recipe.videos.bucket_sizes(),
                recipe.batch,
                int(recipe.device_gb * 1e9),
            )
        self.dit: DiT
        self.text: TextEncoder | None = None
        if fresh is None:
            self.dit = self.models.network(trained=True)
        else:
            self.dit, self.text = self.models.fresh(recipe.trainer.seed)
        # Sharded weights are bfloat16 themselves.
        self._cast = recipe.bf16 and world.size == 1

    @property
    def _know_mouths(self) -> bool:
        return all(isinstance(source, KnowsMouths) for source in self.sources.values())

    def modules(self) -> Mapping[str, nn.Module]:
        """Returns the transformer, and the text encoder if it is trained."""
        return {"dit": self.dit} | ({} if self.text is None else {"text": self.text})

    def prepare(self, *, resumed: bool) -> None:
        """Encodes the clips of both splits, unless they are cached."""
        recipe, frozen = self.recipe, self.models.frozen()
        caches = self.world.in_turn(
            lambda: build_caches(
                self.sources, frozen.encoders(), recipe.videos, self.places, self.spec
            )
        )
        self.samplers = {
            split: Stage1Sampler(
                found, recipe.odds, self.spec, batch=recipe.batch, seed=recipe.trainer.seed
            )
            for split, found in caches.items()
        }
        # Released if no videos are sampled from the transformer.
        self.frozen: FrozenModels | None = frozen if recipe.samples is not None else None
        if self.text is not None:
            self._begin(self.text, resumed=resumed)
            tokenizer = self.world.in_turn(
                lambda: learned_tokenizer(
                    captions_of(self.sources["train"]), self.models.sizes.text, self.places.run_dir
                )
            )
        else:
            tokenizer = self.models.checkpoint.load_tokenizer()
        text = self.models.text() if self.text is None else self.text
        self.prompter = Prompter(text, tokenizer, self.world.device, recipe.negative_prompt)

    def _begin(self, text: TextEncoder, *, resumed: bool) -> None:
        """Loads initial weights of fresh networks if there are any."""
        start_dir = self.places.start_dir
        if start_dir and not resumed:
            start_from(self.dit, start_dir / self.recipe.role)
            start_from(text, start_dir / TEXT_ROLE)
            if self.world.first:
                copy_tokenizer(start_dir / TEXT_ROLE, self.places.run_dir)
            self.world.barrier()
        self.models.lay_out(self.dit, text)

    def step(self, context: StepContext) -> Mapping[str, Tensor]:
        """Returns the velocity loss of one batch of one bucket, with a noise level per sample."""
        recipe, sampler = self.recipe, self.samplers["train"]
        picks = sampler.pick(context.step, context.numpy)
        corruption = draw_corruption(recipe.rates, picks.cold_B, context.numpy)
        mine = self.world.rows(recipe.batch)
        batch = sampler.batch(picks.rows(mine))
        errors = self._errors("train", batch, corruption.rows(mine), context.draws, recipe.jitter)
        cells = self._mouth("train", batch)
        if cells is None:
            return {"loss": errors.loss(None, self.world.mean)}
        with torch.no_grad():
            mouth = errors.loss(cells, self.world.mean)
        weight = None
        if recipe.mouth_weight != 1.0:
            weight = 1.0 + (recipe.mouth_weight - 1.0) * cells
        return {"loss": errors.loss(weight, self.world.mean), "mouth": mouth}

    def _mouth(self, split: Split, batch: Stage1Batch) -> Tensor | None:
        """Returns 1.0 in the cells of the mouth, [B, 1, F, h, w]; None if it is unknown."""
        source = self.sources[split]
        if not isinstance(source, KnowsMouths):
            return None
        return mouth_cells(source, batch, self.spec).to(self.world.device)

    def _errors(
        self,
        split: Split,
        batch: Stage1Batch,
        corruption: Corruption,
        shared: SharedDraws,
        jitter: MotionJitter = NO_JITTER,
    ) -> VelocityErrors:
        z = batch.z_BCFHW.to(self.world.device)
        noise = shared.normal(z.shape).to(z)
        x = noised_input(z, noise, corruption, jitter.disturb(z, shared))
        given = self._conditions(split, batch, corruption)
        v = velocity(self.dit, x, corruption.sigma_B, given, bf16=self._cast)
        return VelocityErrors(v, z, noise, corruption.clean_B)

    def _conditions(self, split: Split, batch: Stage1Batch, corruption: Corruption) -> Conditions:
        source, device = self.sources[split], self.world.device
        captions = [
            self.prompter.negative if dropped else source.facts(int(video)).caption
            for video, dropped in zip(batch.video_B, corruption.drop_text_B.tolist(), strict=True)
        ]
        cast = self._cast and self.text is not None
        with torch.autocast(device.type, torch.bfloat16, enabled=cast):
            text_BND = self.prompter.tokens(captions)
        # The null of speech is a tensor of zero embeddings, not the embedding of silence.
        heard = ~corruption.drop_audio_B[:, None, None, None, None]
        return Conditions(
            reference_condition(batch.reference_BCFHW.to(device)),
            batch.image_BND.to(device),
            text_BND,
            torch.where(heard, batch.speech_BTWLD, 0.0).to(device),
        )

    def evaluate(self, board: Board) -> Mapping[str, float]:
        """Returns the held-out loss and the cost of wrong speech; samples videos.

        ``speech_gain`` is the relative increase of the loss with another clip's speech: 0 means
        that speech has no effect. If the mouth is known, it is that of its cells, ``val_mouth``.
        """
        recipe, world, sampler = self.recipe, self.world, self.samplers["val"]
        whole: list[float] = []
        right: list[float] = []
        wrong: list[float] = []
        rng, mine = np.random.default_rng(11), world.rows(recipe.batch)
        for seed in range(0, recipe.eval_clips, recipe.batch):
            picks = sampler.pick(seed // recipe.batch, rng)
            corruption = draw_corruption(UNDISTURBED, picks.cold_B, rng).rows(mine)
            batch = sampler.batch(picks.rows(mine))
            speech = sampler.speech(picks.rotated().rows(mine))
            other = replace(batch, speech_BTWLD=speech)
            cells = self._mouth("val", batch)
            heard, deaf = (
                self._errors(
                    "val", each, corruption, SharedDraws.seeded(seed, world.rank, world.size)
                )
                for each in (batch, other)
            )
            whole.append(float(world.mean(heard.loss(None, world.mean))))
            right.append(float(world.mean(heard.loss(cells, world.mean))))
            wrong.append(float(world.mean(deaf.loss(cells, world.mean))))
        scores = {"val_loss": float(np.mean(whole))}
        if self._know_mouths:
            scores["val_mouth"] = float(np.mean(right))
        scores["speech_gain"] = float(np.mean(wrong)) / float(np.mean(right)) - 1.0
        return {**scores, **self._report(board)}

    def _report(self, board: Board) -> Mapping[str, float]:
        if self.recipe.samples is None or self.frozen is None:
            return {}
        return sample_report(
            self.recipe.samples,
            self.dit,
            self.frozen,
            self.truth.data,
            self.spec,
            lambda video: self.prompter.tokens([self.truth.facts(video).caption]),
            board,
        )

    def export(self, directory: Path) -> None:
        """Exports the transformer, which replaces the one in a copy of the checkpoint.

        Fresh networks complete the folder: beside the transformer the text encoder with its
        tokenizer, and the sampling settings. Existing settings are kept: they may have been tuned.
        """
        config, first = self.models.sizes.dit.to_dict(), self.world.first
        if self.text is None:
            save_model(
                self.dit, config, directory, stem=WEIGHTS_STEM, dtype=torch.bfloat16, write=first
            )
            if first:
                # Sampling of the teacher: many Euler steps with guidance.
                save_sampling(Sampling(steps=40, sampler="euler", audio_guidance=4.0), directory)
            return
        text_dir = self.places.model_dir(TEXT_ROLE)
        save_model(self.dit, config, directory, stem=WEIGHTS_STEM, write=first)
        save_model(self.text, self.models.sizes.text.to_dict(), text_dir, write=first)
        if not first:
            return
        copy_tokenizer(self.places.run_dir, text_dir)
        if not (directory.parent / SAMPLING_FILE).exists():
            samples = self.recipe.samples or SampleConfig()
            size_hw = self.sources["val"].facts(0).size_hw
            save_sampling(samples.sampling(size_hw), directory.parent)
