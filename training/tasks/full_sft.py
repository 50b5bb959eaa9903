"""Stage 1 at full scale: a published checkpoint learns chunks of 33 frames from recorded videos.

Report section 3; training specification 1. The loss is that of the small recipe; text, image,
speech and video models are the checkpoint's own and stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from flashtalk.diffusion.condition import reference_condition
from flashtalk.engine.sampling import Sampling, save_sampling
from flashtalk.models.dit.weights import WEIGHTS_STEM
from training.core.board import Board
from training.core.config import TrainerConfig
from training.core.draws import SharedDraws
from training.core.task import OneLoss, StepContext
from training.core.world import ShardPlan, World
from training.data.stage1_batch import Stage1Batch
from training.data.video_batch import VideoStage1Sampler
from training.data.video_cache import VideoPlan, build_video_caches
from training.data.videos.problems import SkipList
from training.distill.scores import Conditions, velocity
from training.losses.flow_matching import DrawRates, Draws, draw, noised_input, velocity_loss
from training.losses.motion_jitter import NO_JITTER, MotionJitter
from training.places import Places
from training.tasks.export import save_model
from training.tasks.published import Prompter, PublishedModels
from training.tasks.sft import UNDISTURBED
from training.tasks.videos import open_source

_SPLITS = ("train", "val")


@dataclass(frozen=True)
class FullSftRecipe:
    """Fields of ``flashtalk_14b_sft``.

    Args:
        trainer: length, optimizer and so on.
        preset: of the checkpoint folder (``--weights``).
        videos: what is cached of them.
        rates: noise levels and dropped conditions.
        jitter: errors in the motion latents that are handed over (``losses.motion_jitter``).
        negative_prompt: the null of text.
        role: folder of the finished transformer.
        batch: of all ranks together.
        cold_start: share of samples whose reference is their own first frame.
        bf16, checkpointing: see ``ShardPlan``.
        eval_batches: of held-out clips.
        device_gb: memory of one device, for the plan; 10^9 bytes.
    """

    trainer: TrainerConfig
    preset: str = "flashtalk-14b"
    videos: VideoPlan = field(default_factory=VideoPlan)
    rates: DrawRates = field(default_factory=lambda: DrawRates(unshifted=0.0))
    jitter: MotionJitter = NO_JITTER
    negative_prompt: str = ""
    role: str = "stage1"
    batch: int = 32
    cold_start: float = 0.15
    bf16: bool = True
    checkpointing: bool = True
    eval_batches: int = 4
    device_gb: float = 96.0

    def task(self, places: Places, world: World) -> FullSftTask:
        """The task of this recipe."""
        return FullSftTask(self, places, world)


class FullSftTask(OneLoss):
    """Trains the transformer; everything else is frozen."""

    def __init__(self, recipe: FullSftRecipe, places: Places, world: World) -> None:
        self.recipe, self.places, self.world = recipe, places, world
        plan = ShardPlan(recipe.bf16, recipe.checkpointing)
        self.models = PublishedModels(recipe.preset, places.weights_dir, world, plan)
        self.spec = self.models.checkpoint.spec
        self.models.show_memory(
            ("transformer",), (), recipe.videos.buckets.sizes(), recipe.batch,
            int(recipe.device_gb * 1e9),
        )  # fmt: skip
        self.sources = {split: open_source(places.data_dir, split) for split in _SPLITS}
        self.dit = self.models.network(trained=True)
        self.prompter = Prompter(self.models, recipe.negative_prompt)

    def modules(self) -> Mapping[str, nn.Module]:
        """The transformer."""
        return {"dit": self.dit}

    def prepare(self, *, resumed: bool) -> None:
        """Encodes clips of both splits, unless that is done; the encoders are let go then."""
        frozen, recipe = self.models.load_frozen(), self.recipe
        self.samplers = self.world.in_turn(
            lambda: {
                split: VideoStage1Sampler(
                    build_video_caches(
                        source, frozen.encoders(), recipe.videos, self.places.cache_dir,
                        self.spec, SkipList(self.places.run_dir / f"skipped-{split}.jsonl"),
                    ),
                    self.spec, batch=recipe.batch, seed=recipe.trainer.seed,
                    cold_start=recipe.cold_start,
                )
                for split, source in self.sources.items()
            }
        )  # fmt: skip

    def step(self, context: StepContext) -> Mapping[str, Tensor]:
        """Velocity loss of one batch of one bucket."""
        recipe = self.recipe
        loss = self._loss(
            "train", context.step, recipe.rates, context.numpy, context.draws, recipe.jitter
        )
        return {"loss": loss}

    def evaluate(self, board: Board) -> Mapping[str, float]:
        """Held-out loss, and how much larger it gets without speech, relative to it."""
        rng = np.random.default_rng(11)
        deaf_rates = DrawRates(noisy_motion=0, drop_audio=1, drop_text=0, drop_both=0, unshifted=0)
        losses: list[float] = []
        deaf: list[float] = []
        for number in range(self.recipe.eval_batches):
            for rates, kept in ((UNDISTURBED, losses), (deaf_rates, deaf)):
                draws = SharedDraws(
                    torch.Generator().manual_seed(number), self.world.rank, self.world.size
                )
                kept.append(float(self.world.mean(self._loss("val", number, rates, rng, draws))))
        loss = float(np.mean(losses))
        return {"val_loss": loss, "speech_gain": float(np.mean(deaf)) / loss - 1.0}

    def export(self, directory: Path) -> None:
        """The transformer alone: it takes the other's place in a copy of the checkpoint."""
        save_model(
            self.dit, self.models.sizes.dit.to_dict(), directory, stem=WEIGHTS_STEM,
            dtype=torch.bfloat16, write=self.world.first,
        )  # fmt: skip
        if self.world.first:
            # The teacher's own way: many Euler steps with guidance (training specification 3).
            save_sampling(Sampling(steps=40, sampler="euler", audio_guidance=4.0), directory)

    def _loss(
        self,
        split: str,
        number: int,
        rates: DrawRates,
        rng: np.random.Generator,
        shared: SharedDraws,
        jitter: MotionJitter = NO_JITTER,
    ) -> Tensor:
        picks = self.samplers[split].pick(number)
        draws = draw(rates, picks.picks.cold_B, rng)
        mine = self.world.rows(self.recipe.batch)
        batch, draws = self.samplers[split].batch(picks.rows(mine)), draws.rows(mine)
        device = self.world.device
        z = batch.z_BCFHW.to(device)
        noise = shared.normal(z.shape).to(device)
        x = noised_input(z, noise, draws, jitter.disturb(z, shared))
        given = self._conditions(split, batch, draws)
        # Sharded weights come in bfloat16 themselves.
        cast = self.recipe.bf16 and self.world.size == 1
        v = velocity(self.dit, x, draws.sigma_B, given, bf16=cast)
        return velocity_loss(v, z, noise, draws.clean_B, mean=self.world.mean)

    def _conditions(self, split: str, batch: Stage1Batch, draws: Draws) -> Conditions:
        source, device = self.sources[split], self.world.device
        captions = [source.facts(int(video)).caption for video in batch.utterance_B]
        text = self.prompter.tokens(captions)
        dropped = draws.drop_text_B.to(device)[:, None, None]
        heard = ~draws.drop_audio_B[:, None, None, None, None]
        return Conditions(
            reference_condition(batch.reference_BCFHW.to(device)),
            batch.clip_BMD.to(device),
            torch.where(dropped, self.prompter.empty_1ND, text),
            # The null of speech is a tensor of zero embeddings, not the embedding of silence.
            torch.where(heard, batch.speech_BTWLD, 0.0).to(device),
        )
