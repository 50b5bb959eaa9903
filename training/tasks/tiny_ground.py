"""Stage 2 on SynthTalk, with models of our own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashtalk.engine.sampling import Sampling, save_sampling
from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.dit.model import DiT
from flashtalk.models.dit.weights import WEIGHTS_STEM
from flashtalk.models.umt5.config import TextConfig
from flashtalk.models.umt5.model import TextEncoder
from flashtalk.presets import TINY
from flashtalk.streaming import preset_spec
from training.core.board import Board
from training.core.world import ShardPlan, World, shard
from training.data.clips import open_split
from training.data.portrait_cache import build_portraits
from training.data.stage1_clips import ClipPlan
from training.data.stage2_batch import Stage2Batch, Stage2Sampler
from training.data.stage2_cache import build_stage2_cache
from training.data.stage2_sequences import SequencePlan
from training.distill.matching import Prompts
from training.distill.rollout import Handover
from training.places import Places
from training.tasks.captions import Captions, embed
from training.tasks.export import save_model
from training.tasks.frozen import ROLES as FROZEN_ROLES
from training.tasks.frozen import load_frozen
from training.tasks.ground import Split, Wanted
from training.tasks.samples import SampleConfig, sample_report
from training.tasks.sft import DIT_METHODS, keep_attention_float32
from training.tasks.start import start_from


@dataclass(frozen=True)
class TinyGroundConfig:
    """Architectures and data.

    Args:
        model, text: of the finished Stage 1 model.
        plan: clips of Stage 1, whose first frames are the portraits; the same as there, so that its
            cache serves where there is one.
        stretches: what is rolled out.
        samples: videos of an evaluation.
        teacher, text_role: roles of the weights.
    """

    model: DiTConfig
    text: TextConfig
    plan: ClipPlan = field(default_factory=ClipPlan)
    stretches: SequencePlan = field(default_factory=SequencePlan)
    samples: SampleConfig = field(default_factory=SampleConfig)
    teacher: str = "dit"
    text_role: str = "umt5"

    @property
    def chunks(self) -> int:
        """The most that can be rolled out."""
        return self.stretches.chunks

    def ground(
        self, places: Places, world: World, plan: ShardPlan, batch: int, sampling: Sampling
    ) -> TinyGround:
        """See ``TinyGround``."""
        return TinyGround(self, places, world, plan, batch, sampling)


class TinyGround:
    """A ``Ground``; ``sampling`` is what the student is exported with, its size apart."""

    def __init__(
        self,
        config: TinyGroundConfig,
        places: Places,
        world: World,
        plan: ShardPlan,
        batch: int,
        sampling: Sampling,
    ) -> None:
        self.config, self.places, self.world, self.plan = config, places, world, plan
        self._batch, self._sampling, self.spec = batch, sampling, preset_spec(TINY)
        self.splits = {split: open_split(places.data_dir, split) for split in ("train", "val")}
        self.frozen = load_frozen(places, world.device, bf16=plan.bf16)
        self.text = TextEncoder(config.text).to(world.device)
        start_from(self.text, places.model_dir(config.text_role))
        self.text.requires_grad_(False)
        self._samplers: dict[str, Stage2Sampler] = {}
        self._tokens: dict[str, Tensor] = {}

    def network(self, *, trained: bool) -> DiT:
        """See ``Ground``."""
        dit = DiT(self.config.model).to(self.world.device)
        if self.plan.bf16 and self.world.device.type == "cpu":
            keep_attention_float32(dit)
        start_from(dit, self.places.model_dir(self.config.teacher))
        dit.requires_grad_(trained)
        shard(dit, self.world, ShardPlan(self.plan.bf16, self.plan.checkpointing, DIT_METHODS))
        return dit.eval()

    def prepare(self) -> None:
        """See ``Ground``."""
        self._samplers = self.world.in_turn(
            lambda: {split: self._sampler(split) for split in self.splits}
        )
        text_dir = self.places.model_dir(self.config.text_role)
        captions = Captions.learn(self.splits["train"].captions, self.config.text, text_dir)
        self._empty_1ND = self._embedded(captions.empty_N[None])
        self._tokens = {
            split: self._embedded(captions.encode(data.captions))
            for split, data in self.splits.items()
        }

    def handover(self) -> Handover:
        """See ``Ground``."""
        return partial(self.frozen.motion_after, spec=self.spec)

    def batch(self, split: Split, wanted: Wanted) -> Stage2Batch:
        """See ``Ground``."""
        drawn = self._samplers[split].draw(
            self._batch, wanted.chunks, wanted.rng, beginning=wanted.beginning, mine=wanted.mine
        )
        return drawn.to(self.world.device)

    def prompts(self, split: Split, utterance_B: npt.NDArray[np.int64]) -> Prompts:
        """See ``Ground``."""
        text_BND = self._tokens[split][torch.from_numpy(utterance_B)]
        return Prompts(text_BND, self._empty_1ND.expand_as(text_BND))

    def report(self, student: DiT, board: Board) -> Mapping[str, float]:
        """See ``Ground``."""
        tokens_UND, samples = self._tokens["val"], self.config.samples.like(self._sampling)
        return sample_report(
            samples, student, self.frozen, self.splits["val"], self.spec,
            lambda utterance: tokens_UND[utterance : utterance + 1], board,
        )  # fmt: skip

    def export(self, student: DiT, directory: Path) -> None:
        """A whole folder of weights: the student as its transformer, the rest copied."""
        model_dir, first = directory / "dit", self.world.first
        save_model(student, self.config.model.to_dict(), model_dir, stem=WEIGHTS_STEM, write=first)
        if not first:
            return
        for role in (*FROZEN_ROLES, self.config.text_role):
            shutil.copytree(self.places.model_dir(role), directory / role, dirs_exist_ok=True)
        height_px, width_px = self.splits["val"].config.size_hw
        values = self._sampling.to_dict() | {"height_px": height_px, "width_px": width_px}
        save_sampling(Sampling.from_dict(values), directory)

    def _sampler(self, split: str) -> Stage2Sampler:
        data, config, cache_dir = self.splits[split], self.config, self.places.cache_dir
        encoders = self.frozen.encoders()
        return Stage2Sampler(
            build_portraits(data, encoders, config.plan, cache_dir, self.spec),
            build_stage2_cache(data, encoders, config.stretches, cache_dir, self.spec),
            self.spec,
        )

    @torch.no_grad()
    def _embedded(self, ids_UN: Tensor) -> Tensor:
        device = self.world.device
        return torch.cat([embed(self.text, part.to(device)) for part in ids_UN.split(64)])
