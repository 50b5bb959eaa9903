"""Stage 2: distils the Stage 1 model to a student of four steps without guidance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from flashtalk.engine.sampling import Sampling
from flashtalk.errors import InputError
from training.core.board import Board
from training.core.config import TrainerConfig
from training.core.draws import SharedDraws
from training.core.sharding import ShardPlan
from training.core.task import ParameterGroup, StepContext, Update
from training.core.world import World
from training.data.batch import Stage2Batch
from training.distill.matching import Matching, MatchingConfig, Prompts
from training.distill.pool import Rollout, RolloutPool
from training.distill.rollout import Exit
from training.places import Places
from training.tasks.stage2_setup import BatchRequest, Stage2Setup, Stage2SetupConfig

STUDENT, FAKE = "student", "fake"
_LAG_BATCHES = 4
_ROLLOUT = 1  # keys the draws of a rollout


@dataclass(frozen=True)
class DistillRecipe:
    """Fields of the distillation recipes.

    Args:
        trainer: of the student; a step is one turn of the loop: it updates the fake score, and in
            every ``student_every``-th turn the student.
        setup: networks and data.
        role: folder of the finished student.
        batch: of all ranks together.
        pool: samples of a cycle's rollout per sample of a batch; all updates of the cycle draw from
            them and from those of the previous cycle (``distill.pool``). 0 is the report's loop: a
            rollout for every update.
        fake_lr_scale: learning rate of the fake score over the student's (the report: 0.2).
        cold_start: share of batches that begin a stream at the portrait.
        bf16: compute in bfloat16 with float32 weights.
        checkpointing: recompute blocks in the backward pass instead of storing them.
    """

    trainer: TrainerConfig
    setup: Stage2SetupConfig
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    role: str = "student"
    batch: int = 4
    pool: int = 0
    student_every: int = 5
    fake_lr_scale: float = 1.0
    cold_start: float = 0.5
    bf16: bool = False
    checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.student_every < 1:
            raise InputError("student_every", self.student_every, "at least 1")
        if self.pool < 0:
            raise InputError("pool", self.pool, "at least 0")
        if self.setup.chunks < self.matching.exits.chunks:
            limit = f"at least {self.matching.exits.chunks}, the number of chunks per rollout"
            raise InputError("stretches.chunks", self.setup.chunks, limit)

    def task(self, places: Places, world: World) -> DistillTask:
        """Returns the task of this recipe."""
        return DistillTask(self, places, world)

    @property
    def rollout_batch(self) -> int:
        """Returns the samples of a rollout, of all ranks together."""
        return self.batch * max(1, self.pool)

    def draws_before(self, step: int) -> int:
        """Returns the number of batches before a step: one for each update."""
        return step + (step + self.student_every - 1) // self.student_every


class DistillTask:
    """Trains the student and the fake score; the real score keeps the weights of Stage 1."""

    def __init__(self, recipe: DistillRecipe, places: Places, world: World) -> None:
        self.recipe, self.world = recipe, world
        matching = recipe.matching
        self.setup = Stage2Setup(
            recipe.setup,
            places,
            world,
            ShardPlan(recipe.bf16, recipe.checkpointing),
            recipe.rollout_batch,
            Sampling(steps=matching.exits.steps, shift=matching.shift),
        )
        self.student, self.fake = (self.setup.network(trained=True) for _ in range(2))
        self.real = self.setup.network(trained=False)
        self.matching = Matching(
            matching,
            self.student,
            self.fake,
            self.real,
            self.setup.next_motion(),
            bf16=recipe.bf16 and world.size == 1,  # sharded weights come in bfloat16 themselves
            keys=world.size == 1 and not recipe.checkpointing,
        )
        self._pool = RolloutPool(world, recipe.batch, recipe.pool)

    def modules(self) -> Mapping[str, nn.Module]:
        """Returns student and fake score."""
        return {STUDENT: self.student, FAKE: self.fake}

    def groups(self) -> Mapping[str, ParameterGroup]:
        """One optimizer each; only the student is averaged."""
        return {
            STUDENT: ParameterGroup((STUDENT,)),
            FAKE: ParameterGroup((FAKE,), lr_scale=self.recipe.fake_lr_scale, averaged=False),
        }

    def prepare(self, *, resumed: bool) -> None:
        """Encodes the data, unless it is cached."""
        self.setup.prepare()

    def updates(self, context: StepContext) -> Iterator[Update]:
        """Updates the student in every n-th step, the fake score in every one; separate draws."""
        moves_student = context.step % self.recipe.student_every == 0
        if self.recipe.pool:
            yield from self._pooled(context, moves_student=moves_student)
            return
        number = self.recipe.draws_before(context.step)
        if moves_student:
            batch, prompts, at = self._draw(number, context)
            yield Update(STUDENT, self.matching.student_losses(batch, prompts, at, context.draws))
            number += 1
        batch, prompts, at = self._draw(number, context)
        yield Update(FAKE, self.matching.fake_losses(batch, prompts, at, context.draws))

    def _pooled(self, context: StepContext, *, moves_student: bool) -> Iterator[Update]:
        """The same from rollouts of this cycle and the previous one."""
        draws, matching = context.draws, self.matching
        if moves_student or not len(self._pool):
            cycle = context.step // self.recipe.student_every
            batch, prompts, exits = self._drawn_again(cycle)
            mine = self.world.rows(self.recipe.rollout_batch)
            state, raw_BCFHW = matching.roll_out_per_sample(batch, prompts, exits, mine, draws)
            self._pool.keep(cycle, Rollout(batch, prompts, state, raw_BCFHW))
        if moves_student:
            new = self._pool.newest(context.numpy)
            losses = matching.student_losses_at(new.batch, new.prompts, new.state, draws)
            yield Update(STUDENT, losses)
        seen = self._pool.any(context.numpy)
        yield Update(
            FAKE,
            matching.fake_losses_at(seen.batch, seen.prompts, seen.state, seen.raw_BCFHW, draws),
        )

    def _drawn_again(self, cycle: int) -> tuple[Stage2Batch, Prompts, list[Exit]]:
        """Returns this rank's samples of a cycle's rollout and the exits of all; deterministic."""
        recipe = self.recipe
        rng = np.random.default_rng([recipe.trainer.seed, cycle, _ROLLOUT])
        drawn = [recipe.matching.exits.draw(rng) for _ in range(recipe.rollout_batch)]
        begins = rng.random(recipe.rollout_batch) < recipe.cold_start
        agreed = self.world.agree(
            [*(at.chunk for at in drawn), *(at.step for at in drawn), *map(int, begins)]
        )
        chunks, steps, beginning = np.asarray(agreed).reshape(3, recipe.rollout_batch)
        exits = [Exit(int(chunk), int(step)) for chunk, step in zip(chunks, steps, strict=True)]
        mine = self.world.rows(recipe.rollout_batch)
        request = BatchRequest(cycle, int(chunks.max()), beginning.astype(bool), rng, mine)
        batch = self.setup.batch("train", request)
        return batch, self.setup.prompts("train", batch.video_B), exits

    def carried(self) -> Mapping[str, Tensor]:
        """Returns the stored rollouts."""
        return self._pool.carried()

    def make_room(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Draws samples and exits of the rollouts again; their latents are filled afterwards."""

        def again(cycle: int, latents: tuple[Tensor, Tensor, Tensor]) -> Rollout:
            batch, prompts, exits = self._drawn_again(cycle)
            x, motion, raw = latents
            own = exits[self.world.rows(self.recipe.rollout_batch)]
            return Rollout(batch, prompts, self.matching.exit_state(batch, own, x, motion), raw)

        self._pool.make_room(shapes, again)

    def _draw(self, number: int, context: StepContext) -> tuple[Stage2Batch, Prompts, Exit]:
        at = self.recipe.matching.exits.draw(context.numpy)
        beginning = int(context.numpy.random() < self.recipe.cold_start)
        chunk, step, beginning = self.world.agree((at.chunk, at.step, beginning))
        mine = self.world.rows(self.recipe.batch)
        request = BatchRequest(number, chunk, bool(beginning), context.numpy, mine)
        batch = self.setup.batch("train", request)
        return batch, self.setup.prompts("train", batch.video_B), Exit(chunk, step)

    def evaluate(self, board: Board) -> Mapping[str, float]:
        """Samples videos in the chunk loop, and checks that the fake score keeps up.

        ``fake_lag`` is the fake score's loss on the student's latents over the real score's: below
        1 while the fake score is better.
        """
        fakes, reals = [], []
        rng, mine = np.random.default_rng(11), self.world.rows(self.recipe.rollout_batch)
        draws = SharedDraws.seeded(11, self.world.rank, self.world.size)
        for number in range(_LAG_BATCHES):
            at = self.recipe.matching.exits.draw(rng)
            request = BatchRequest(number, at.chunk, number % 2 == 0, rng, mine)
            batch = self.setup.batch("val", request)
            prompts = self.setup.prompts("val", batch.video_B)
            fake, real = self.matching.fake_lag(batch, prompts, at, draws)
            fakes.append(fake)
            reals.append(real)
        # Every rank has evaluated its own rows.
        lost = self.world.means({"fake": float(np.mean(fakes)), "real": float(np.mean(reals))})
        report = self.setup.report(self.student, board)
        return {"fake_loss": lost["fake"], "fake_lag": lost["fake"] / lost["real"], **report}

    def export(self, directory: Path) -> None:
        """Writes the finished student."""
        self.setup.export(self.student, directory)
