"""Stage 1: the DiT learns to continue a clip from motion frames, portrait, speech and caption.

Legend: B batch, C latent channels, F latent frames, h w latent size, M image tokens, N text tokens,
D width, T frames, W window, L layers.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from flashtalk.diffusion.condition import reference_condition
from flashtalk.engine.sampling import SAMPLING_FILE, save_sampling
from flashtalk.models.dit.block import AudioAttention, ContextAttention, SelfAttention
from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.dit.model import DiT
from flashtalk.models.dit.weights import WEIGHTS_STEM
from flashtalk.models.umt5.config import TextConfig
from flashtalk.models.umt5.model import TextEncoder
from flashtalk.ops.token_slice import TokenSlice
from flashtalk.presets import TINY
from flashtalk.streaming import preset_spec
from training.core.board import Board
from training.core.config import TrainerConfig
from training.core.draws import SharedDraws
from training.core.task import OneLoss, StepContext
from training.core.world import ShardPlan, World, shard
from training.data.clips import open_split
from training.data.mouth_focus import mouth_positions
from training.data.stage1_batch import ClipOdds, Stage1Batch, Stage1Sampler
from training.data.stage1_cache import build_stage1_cache
from training.data.stage1_clips import ClipPlan
from training.data.synthtalk import SynthTalk
from training.losses.flow_matching import (
    DrawRates,
    Draws,
    draw,
    noised_input,
    velocity_loss,
)
from training.losses.motion_jitter import NO_JITTER, MotionJitter
from training.places import Places
from training.tasks.captions import Captions, embed
from training.tasks.export import save_model
from training.tasks.frozen import FrozenModels, load_frozen
from training.tasks.samples import SampleConfig, sample_report
from training.tasks.start import start_from

DIT_METHODS = ("embed_context", "embed_audio", "embed_time")
UNDISTURBED = DrawRates(noisy_motion=0.0, drop_audio=0.0, drop_text=0.0, drop_both=0.0)


@dataclass(frozen=True)
class SftRecipe:
    """Fields of the ``tiny_sft`` recipe (training.md 1 and 6.4).

    ``mouth_weight`` is what latent cells that show the mouth count in the loss; the report's loss
    has 1. Small frames have few such cells. ``jitter`` are errors in the motion latents that are
    handed over (``losses.motion_jitter``). ``bf16`` computes in bfloat16 with float32 weights; on
    a CPU attention stays float32, whose backward is 8 times as fast there.
    """

    trainer: TrainerConfig
    model: DiTConfig
    text: TextConfig
    plan: ClipPlan = field(default_factory=ClipPlan)
    odds: ClipOdds = field(default_factory=ClipOdds)
    rates: DrawRates = field(default_factory=DrawRates)
    samples: SampleConfig = field(default_factory=SampleConfig)
    role: str = "dit"
    text_role: str = "umt5"
    train_split: str = "train"
    val_split: str = "val"
    batch: int = 8
    mouth_weight: float = 1.0
    jitter: MotionJitter = NO_JITTER
    bf16: bool = False
    checkpointing: bool = False
    eval_clips: int = 64

    def task(self, places: Places, world: World) -> "SftTask":
        """The task of this recipe."""
        return SftTask(self, places, world)


class SftTask(OneLoss):
    """Trains ``DiT`` and the text encoder on cached clips."""

    def __init__(self, recipe: SftRecipe, places: Places, world: World) -> None:
        self.recipe = recipe
        self.world = world
        self.places = places
        self.spec = preset_spec(TINY)
        self.train = open_split(places.data_dir, recipe.train_split)
        self.val = open_split(places.data_dir, recipe.val_split)
        self.device = torch.device(recipe.trainer.device)
        self.frozen: FrozenModels = load_frozen(places, self.device, bf16=recipe.bf16)
        torch.manual_seed(recipe.trainer.seed)
        self.dit = DiT(recipe.model).to(self.device)
        if recipe.bf16 and self.device.type == "cpu":
            keep_attention_float32(self.dit)
        self.text = TextEncoder(recipe.text).to(self.device)

    def modules(self) -> Mapping[str, nn.Module]:
        """The DiT and the text encoder."""
        return {"dit": self.dit, "text": self.text}

    def prepare(self, *, resumed: bool) -> None:
        """Encodes the clips of both splits, unless that is done, and learns the tokens."""
        encoders, plan, spec = self.frozen.encoders(), self.recipe.plan, self.spec
        caches = self.world.in_turn(
            lambda: [
                build_stage1_cache(split, encoders, plan, self.places.cache_dir, spec)
                for split in (self.train, self.val)
            ]
        )
        self.sampler, self.val_sampler = (
            Stage1Sampler(cache, self.recipe.odds, spec) for cache in caches
        )
        start_dir = self.places.start_dir
        if start_dir and not resumed:
            start_from(self.dit, start_dir / self.recipe.role)
            start_from(self.text, start_dir / self.recipe.text_role)
            if self.world.first:
                Captions.copy(start_dir / self.recipe.text_role, self.places.run_dir)
            self.world.barrier()
        shard(self.dit, self.world, self._layout(DIT_METHODS))
        shard(self.text, self.world, self._layout())
        self.captions = self.world.in_turn(
            lambda: Captions.learn(self.train.captions, self.recipe.text, self.places.run_dir)
        )
        self.train_ids = self.captions.encode(self.train.captions)
        self.val_ids = self.captions.encode(self.val.captions)

    def _layout(self, methods: tuple[str, ...] = ()) -> ShardPlan:
        return ShardPlan(self.recipe.bf16, self.recipe.checkpointing, methods)

    def step(self, context: StepContext) -> Mapping[str, Tensor]:
        """Velocity loss of one batch at one noise level per sample."""
        picks = self.sampler.pick(self.recipe.batch, context.numpy)
        draws = draw(self.recipe.rates, picks.cold_B, context.numpy)
        mine = self.world.rows(self.recipe.batch)
        batch = self.sampler.batch(picks.rows(mine))
        jitter = self.recipe.jitter
        errors = self._errors(batch, draws.rows(mine), self.train_ids, context.draws, jitter)
        cells = self._mouth(self.train, self.sampler, batch)
        with torch.no_grad():
            mouth = errors.loss(cells, self.world.mean)
        weight = None
        if self.recipe.mouth_weight != 1.0:
            weight = 1.0 + (self.recipe.mouth_weight - 1.0) * cells
        return {"loss": errors.loss(weight, self.world.mean), "mouth": mouth}

    def _mouth(self, source: SynthTalk, sampler: Stage1Sampler, batch: Stage1Batch) -> Tensor:
        """1.0 in the cells of the mouth, [B, 1, F, h, w]."""
        cells = mouth_positions(source, sampler.cache, batch.clip_B.tolist(), self.spec)
        return cells.to(self.device)

    def _errors(
        self,
        batch: Stage1Batch,
        draws: Draws,
        ids_UN: Tensor,
        shared: SharedDraws,
        jitter: MotionJitter = NO_JITTER,
    ) -> "Errors":
        z = batch.z_BCFHW
        noise = shared.normal(z.shape)
        x = noised_input(z, noise, draws, jitter.disturb(z, shared))
        ids = ids_UN[torch.from_numpy(batch.utterance_B)]
        ids = torch.where(draws.drop_text_B[:, None], self.captions.empty_N, ids)
        # The null of speech is a tensor of zero embeddings, not the embedding of silence.
        heard = ~draws.drop_audio_B[:, None, None, None, None]
        win = torch.where(heard, batch.speech_BTWLD, 0.0)
        y = reference_condition(batch.reference_BCFHW)
        v = self.velocity(x, draws.sigma_B, y, batch.clip_BMD, ids, win)
        return Errors(v, z.to(v.device), noise.to(v.device), draws.clean_B)

    def velocity(
        self,
        x_BCFHW: Tensor,
        sigma_B: Tensor,
        y_BCFHW: Tensor,
        clip_BMD: Tensor,
        ids_BN: Tensor,
        win_BTWLD: Tensor,
    ) -> Tensor:
        """The network's prediction of eps - x0, [B, C, F, h, w]."""
        device = self.device
        # Sharded weights come in bfloat16 themselves.
        cast = self.recipe.bf16 and self.world.size == 1
        with torch.autocast(device.type, torch.bfloat16, enabled=cast):
            text_BND = embed(self.text, ids_BN.to(device))
            context = self.dit.embed_context(clip_BMD.to(device), text_BND)
            audio = self.dit.embed_audio(win_BTWLD.to(device))
            x, t, y = x_BCFHW.to(device), 1000.0 * sigma_B.to(device), y_BCFHW.to(device)
            v_BCFHW: Tensor = self.dit(x, t, y, context, audio)
        return v_BCFHW

    def evaluate(self, board: Board) -> Mapping[str, float]:
        """Held-out loss, what wrong speech costs, and sampled videos beside the true ones.

        ``val_mouth`` is the loss in the cells that show the mouth; ``speech_gain`` is how much
        larger it gets with another clip's speech, relative to it: 0 means deaf.
        """
        scores: dict[str, list[float]] = {"val_loss": [], "val_mouth": [], "deaf": []}
        rng = np.random.default_rng(11)
        for number in range(0, self.recipe.eval_clips, self.recipe.batch):
            batch = self.val_sampler.draw(self.recipe.batch, rng)
            draws = draw(UNDISTURBED, batch.cold_B, rng)
            cells = self._mouth(self.val, self.val_sampler, batch)
            right, wrong = (
                self._errors(which, draws, self.val_ids, SharedDraws.seeded(number))
                for which in (batch, _with_other_speech(batch))
            )
            scores["val_loss"].append(float(right.loss()))
            scores["val_mouth"].append(float(right.loss(cells)))
            scores["deaf"].append(float(wrong.loss(cells)))
        means = {name: float(np.mean(values)) for name, values in scores.items()}
        deaf = means.pop("deaf")
        report = sample_report(
            self.recipe.samples,
            self.dit,
            self.frozen,
            self.val,
            self.spec,
            lambda utterance: embed(
                self.text, self.val_ids[utterance : utterance + 1].to(self.device)
            ),
            board,
        )
        return {**means, "speech_gain": deaf / means["val_mouth"] - 1.0, **report}

    def export(self, directory: Path) -> None:
        """Writes the DiT, beside it the text encoder with its tokens, and how to sample.

        Settings that are there already stay: somebody may have tuned them.
        """
        first, text_dir = self.world.first, self.places.model_dir(self.recipe.text_role)
        save_model(self.dit, self.recipe.model.to_dict(), directory, stem=WEIGHTS_STEM, write=first)
        save_model(self.text, self.recipe.text.to_dict(), text_dir, write=first)
        if not first:
            return
        self.captions.save(text_dir)
        if not (directory.parent / SAMPLING_FILE).exists():
            save_sampling(self.recipe.samples.sampling(self.val.config.size_hw), directory.parent)


@dataclass(frozen=True)
class Errors:
    """A prediction with what it should have been; the loss under any weights."""

    v_BCFHW: Tensor
    z_BCFHW: Tensor
    noise_BCFHW: Tensor
    clean_B: Tensor

    def loss(
        self,
        weight_B1FHW: Tensor | None = None,
        mean: Callable[[Tensor], Tensor] = lambda total: total,
    ) -> Tensor:
        """See ``velocity_loss``."""
        return velocity_loss(
            self.v_BCFHW, self.z_BCFHW, self.noise_BCFHW, self.clean_B, weight_B1FHW, mean
        )


def in_float32(core: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The attention of ``core`` outside of autocast; what it is told of its tokens is passed on."""

    def attend(q_BNHD: Tensor, k_BMHD: Tensor, v_BMHD: Tensor, *tokens: TokenSlice) -> Tensor:
        with torch.autocast(q_BNHD.device.type, enabled=False):
            return core(q_BNHD.float(), k_BMHD.float(), v_BMHD.float(), *tokens)

    return attend


def keep_attention_float32(dit: DiT) -> None:
    """Lets whatever is in an attention seam of ``dit`` compute in float32."""
    for module in dit.modules():
        if isinstance(module, (SelfAttention, ContextAttention, AudioAttention)):
            module.core = in_float32(module.core)


def _with_other_speech(batch: Stage1Batch) -> Stage1Batch:
    """The same clips, each with the speech of the one before it."""
    return dataclasses.replace(batch, speech_BTWLD=batch.speech_BTWLD.roll(1, 0))
