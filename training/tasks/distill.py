"""Stage 2: the Stage 1 model becomes a student of four steps without guidance."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from flashtalk.engine.sampling import Sampling, save_sampling
from flashtalk.errors import InputError
from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.dit.model import DiT
from flashtalk.models.dit.weights import WEIGHTS_STEM
from flashtalk.models.umt5.config import TextConfig
from flashtalk.models.umt5.model import TextEncoder
from flashtalk.streaming.spec import StreamSpec
from training.core.board import Board
from training.core.config import TrainerConfig
from training.core.draws import SharedDraws
from training.core.task import Group, StepContext, Update
from training.core.world import ShardPlan, World, shard
from training.data.clips import open_split
from training.data.stage1_cache import build_stage1_cache
from training.data.stage1_clips import ClipPlan
from training.data.stage2_batch import Stage2Batch, Stage2Sampler
from training.data.stage2_cache import build_stage2_cache
from training.data.stage2_sequences import SequencePlan
from training.data.synthtalk import SynthTalk
from training.distill.matching import Matching, MatchingConfig, Prompts
from training.distill.rollout import Exit
from training.places import Places
from training.tasks.captions import Captions, embed
from training.tasks.export import save_model
from training.tasks.frozen import ROLES as FROZEN_ROLES
from training.tasks.frozen import load_frozen
from training.tasks.samples import SampleConfig, sample_report
from training.tasks.sft import DIT_METHODS, keep_attention_float32
from training.tasks.start import start_from

STUDENT, FAKE = "student", "fake"
_LAG_BATCHES = 4


@dataclass(frozen=True)
class DistillRecipe:
    """Fields of the ``tiny_distill`` recipe (training specification 2 and 6.5).

    Args:
        trainer: of the student; a step is one turn of the loop: the fake score moves in each, the
            student in every ``student_every``-th.
        fake_lr_scale: learning rate of the fake score over the student's (the report: 0.2).
        cold_start: share of batches that begin a stream at the portrait.
        teacher: role of the weights that all three networks begin with.
    """

    trainer: TrainerConfig
    model: DiTConfig
    text: TextConfig
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    plan: ClipPlan = field(default_factory=ClipPlan)
    stretches: SequencePlan = field(default_factory=SequencePlan)
    samples: SampleConfig = field(default_factory=SampleConfig)
    role: str = "student"
    teacher: str = "dit"
    text_role: str = "umt5"
    train_split: str = "train"
    val_split: str = "val"
    batch: int = 4
    student_every: int = 5
    fake_lr_scale: float = 1.0
    cold_start: float = 0.5
    bf16: bool = False
    checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.student_every < 1:
            raise InputError("student_every", self.student_every, "at least 1")
        if self.stretches.chunks < self.matching.exits.chunks:
            limit = f"at least {self.matching.exits.chunks}, as many as are rolled out"
            raise InputError("stretches.chunks", self.stretches.chunks, limit)

    def task(self, places: Places, world: World) -> DistillTask:
        """The task of this recipe."""
        return DistillTask(self, places, world)


class DistillTask:
    """Trains the student and the fake score; the real score stays as Stage 1 left it."""

    def __init__(self, recipe: DistillRecipe, places: Places, world: World) -> None:
        self.recipe, self.places, self.spec = recipe, places, StreamSpec()
        self.world = world
        self.train = open_split(places.data_dir, recipe.train_split)
        self.val = open_split(places.data_dir, recipe.val_split)
        self.device = torch.device(recipe.trainer.device)
        self.frozen = load_frozen(places, self.device, bf16=recipe.bf16)
        self.student, self.fake, self.real = (self._network() for _ in range(3))
        self.real.requires_grad_(False)
        self.text = TextEncoder(recipe.text).to(self.device)
        start_from(self.text, places.model_dir(recipe.text_role))
        self.text.requires_grad_(False)
        handover = partial(self.frozen.motion_after, spec=self.spec)
        self.matching = Matching(
            recipe.matching, self.student, self.fake, self.real, handover,
            bf16=recipe.bf16 and world.size == 1,  # sharded weights come in bfloat16 themselves
        )  # fmt: skip

    def modules(self) -> Mapping[str, nn.Module]:
        """Student and fake score."""
        return {STUDENT: self.student, FAKE: self.fake}

    def groups(self) -> Mapping[str, Group]:
        """One optimizer each; only the student is averaged."""
        return {
            STUDENT: Group((STUDENT,)),
            FAKE: Group((FAKE,), lr_scale=self.recipe.fake_lr_scale, averaged=False),
        }

    def prepare(self, *, resumed: bool) -> None:
        """Encodes clips and stretches of both splits, unless that is done."""
        recipe = self.recipe
        self.sampler, self.val_sampler = self.world.in_turn(
            lambda: (self._sampler(self.train), self._sampler(self.val))
        )
        text_dir = self.places.model_dir(recipe.text_role)
        captions = Captions.learn(self.train.captions, recipe.text, text_dir)
        self.empty_1ND = self._embedded(captions.empty_N[None])
        self.train_UND = self._embedded(captions.encode(self.train.captions))
        self.val_UND = self._embedded(captions.encode(self.val.captions))

    def _sampler(self, split: SynthTalk) -> Stage2Sampler:
        recipe, encoders, cache_dir = self.recipe, self.frozen.encoders(), self.places.cache_dir
        return Stage2Sampler(
            build_stage1_cache(split, encoders, recipe.plan, cache_dir, self.spec),
            build_stage2_cache(split, encoders, recipe.stretches, cache_dir, self.spec),
            self.spec,
        )

    def updates(self, context: StepContext) -> Iterator[Update]:
        """The student in every n-th step, the fake score in every one; each with its own draws."""
        if context.step % self.recipe.student_every == 0:
            batch, prompts, at = self._draw(context)
            yield Update(STUDENT, self.matching.student_losses(batch, prompts, at, context.draws))
        batch, prompts, at = self._draw(context)
        yield Update(FAKE, self.matching.fake_losses(batch, prompts, at, context.draws))

    def _draw(self, context: StepContext) -> tuple[Stage2Batch, Prompts, Exit]:
        at = self.recipe.matching.exits.draw(context.numpy)
        beginning = int(context.numpy.random() < self.recipe.cold_start)
        chunk, step, beginning = self.world.agree((at.chunk, at.step, beginning))
        at = Exit(chunk, step)
        batch = self.sampler.draw(
            self.recipe.batch, at.chunk, context.numpy, beginning=bool(beginning),
            mine=self.world.rows(self.recipe.batch),
        )  # fmt: skip
        return batch, self._prompts(batch, self.train_UND), at

    def _prompts(self, batch: Stage2Batch, text_UND: Tensor) -> Prompts:
        text_BND = text_UND[torch.from_numpy(batch.utterance_B)]
        return Prompts(text_BND, self.empty_1ND.expand_as(text_BND))

    def evaluate(self, board: Board) -> Mapping[str, float]:
        """Sampled videos as the stream makes them, and whether the fake score keeps up.

        ``fake_lag`` is the fake score's loss on the student's latents over the real score's: below
        1 while it knows them better.
        """
        fakes, reals = [], []
        rng, draws = np.random.default_rng(11), SharedDraws.seeded(11)
        for number in range(_LAG_BATCHES):
            at = self.recipe.matching.exits.draw(rng)
            batch = self.val_sampler.draw(
                self.recipe.batch, at.chunk, rng, beginning=number % 2 == 0
            )
            fake, real = self.matching.fake_lag(
                batch, self._prompts(batch, self.val_UND), at, draws
            )
            fakes.append(fake)
            reals.append(real)
        report = sample_report(
            self.recipe.samples, self.student, self.frozen, self.val, self.spec,
            lambda utterance: self.val_UND[utterance : utterance + 1], board,
        )  # fmt: skip
        return {"fake_loss": float(np.mean(fakes)), "fake_lag": sum(fakes) / sum(reals), **report}

    def export(self, directory: Path) -> None:
        """Writes a whole folder of weights: the student in the teacher's place, the rest copied."""
        model_dir = directory / self.recipe.teacher
        save_model(
            self.student, self.recipe.model.to_dict(), model_dir, stem=WEIGHTS_STEM,
            write=self.world.first,
        )  # fmt: skip
        if not self.world.first:
            return
        for role in (*FROZEN_ROLES, self.recipe.text_role):
            shutil.copytree(self.places.model_dir(role), directory / role, dirs_exist_ok=True)
        height_px, width_px = self.val.config.size_hw
        sampling = Sampling(
            steps=self.recipe.matching.exits.steps, shift=self.recipe.matching.shift,
            height_px=height_px, width_px=width_px,
        )  # fmt: skip
        save_sampling(sampling, directory)

    def _network(self) -> DiT:
        dit = DiT(self.recipe.model).to(self.device)
        if self.recipe.bf16 and self.device.type == "cpu":
            keep_attention_float32(dit)
        start_from(dit, self.places.model_dir(self.recipe.teacher))
        shard(dit, self.world, ShardPlan(self.recipe.bf16, self.recipe.checkpointing, DIT_METHODS))
        return dit.eval()

    @torch.no_grad()
    def _embedded(self, ids_UN: Tensor) -> Tensor:
        return torch.cat([embed(self.text, part.to(self.device)) for part in ids_UN.split(64)])
