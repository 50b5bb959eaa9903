"""Rollouts that are used several times, to reduce the cost of a turn of Stage 2.

The report samples a new rollout for every update. Here each cycle (one update of the student and
those of the fake score until the next one) makes one rollout, in which every sample has its own
exit, drawn with the report's odds. The student is updated on the newest rollout; the fake score is
trained on it and on the previous one, each time at other noise levels. So the fake score's samples
are from a student at most two updates old, and a sample is used in several updates: its probability
is as in the report, but updates are not independent.

Legend: B samples of this rank, C latent channels, F latent frames, M motion latents, h w latent
size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Shard

from training.core.world import World
from training.data.batch import Stage2Batch
from training.distill.matching import Prompts
from training.distill.rollout import ExitState

KEPT_CYCLES = 2


@dataclass(frozen=True)
class Rollout:
    """The rollout of one cycle, this rank's samples.

    Args:
        batch, prompts: its conditions.
        state: the inputs of the evaluations at the exits.
        raw_BCFHW: the student's predictions at that time.
    """

    batch: Stage2Batch
    prompts: Prompts
    state: ExitState
    raw_BCFHW: Tensor

    def rows(self, rows: Tensor) -> Rollout:
        """Returns some of the samples."""
        return Rollout(
            self.batch.rows(rows),
            self.prompts.rows(rows),
            self.state.rows(rows),
            self.raw_BCFHW[rows],
        )


@dataclass
class RolloutPool:
    """The rollouts of the last cycles, with their state for a checkpoint.

    Args:
        world: the ranks.
        batch: samples of an update, of all ranks together.
        pool: samples of a rollout per sample of an update.
    """

    world: World
    batch: int
    pool: int
    _kept: dict[int, Rollout] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Returns the samples of a rollout, of all ranks together."""
        return self.batch * self.pool

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, cycle: int, rollout: Rollout) -> None:
        """Adds the rollout of a cycle; removes old ones."""
        self._kept[cycle] = rollout
        for old in [number for number in self._kept if number <= cycle - KEPT_CYCLES]:
            del self._kept[old]

    def newest(self, rng: np.random.Generator) -> Rollout:
        """Returns samples of an update from the last rollout; ``rng`` is the same on all ranks."""
        return self._drawn(max(self._kept), rng)

    def any(self, rng: np.random.Generator) -> Rollout:
        """Returns samples of an update from one rollout; ``rng`` is the same on all ranks."""
        return self._drawn(int(rng.choice(sorted(self._kept))), rng)

    def _drawn(self, cycle: int, rng: np.random.Generator) -> Rollout:
        # A sample of an update is one of ``pool`` adjacent ones on its own rank.
        places_B = rng.integers(0, self.pool, self.batch)[self.world.rows(self.batch)]
        rows_B = np.arange(len(places_B)) * self.pool + places_B
        return self._kept[cycle].rows(torch.from_numpy(rows_B).to(self.world.device))

    def carried(self) -> Mapping[str, Tensor]:
        """Returns, by name, the state that cannot be recomputed from data and random numbers."""
        return {
            f"{cycle}.{name}": self._over_ranks(tensor)
            for cycle, rollout in self._kept.items()
            for name, tensor in (
                ("x", rollout.state.x_BCFHW),
                ("motion", rollout.state.motion_BCMHW),
                ("raw", rollout.raw_BCFHW),
            )
        }

    def make_room(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        again: Callable[[int, tuple[Tensor, Tensor, Tensor]], Rollout],
    ) -> None:
        """Creates the rollouts of a checkpoint with tensors of these shapes, to be filled.

        Args:
            shapes: of ``carried``.
            again: restores the rollout of a cycle with these latents (``x``, ``motion``, ``raw``).
        """
        self._kept.clear()
        for cycle in sorted({int(name.partition(".")[0]) for name in shapes}):
            x, motion, raw = (self._room(shapes[f"{cycle}.{n}"]) for n in ("x", "motion", "raw"))
            self._kept[cycle] = again(cycle, (x, motion, raw))

    def _room(self, shape: tuple[int, ...]) -> Tensor:
        count = shape[0] // self.world.size
        return torch.zeros((count, *shape[1:]), device=self.world.device)

    def _over_ranks(self, tensor: Tensor) -> Tensor:
        if self.world.mesh is None:
            return tensor
        return DTensor.from_local(tensor, self.world.mesh, [Shard(0)], run_check=False)
