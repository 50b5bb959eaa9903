"""Random numbers of a global batch; every rank takes its rows.

All ranks draw the same numbers for the whole batch and keep those of their samples: a run on many
ranks uses the same numbers as a run on one, and its data position is its step number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SharedDraws:
    """Draws on the CPU, from a generator with the same state on every rank.

    Shapes are those of this rank's rows: ``[B / ranks, ...]``.
    """

    generator: torch.Generator
    rank: int = 0
    size: int = 1

    @classmethod
    def seeded(cls, seed: int, rank: int = 0, size: int = 1) -> SharedDraws:
        """Creates draws from a number."""
        return cls(torch.Generator().manual_seed(seed), rank, size)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal float32."""
        return self._mine(torch.randn(self._all(shape), generator=self.generator))

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Float32 in [0, 1)."""
        return self._mine(torch.rand(self._all(shape), generator=self.generator))

    def integers(self, high: int, shape: Sequence[int]) -> Tensor:
        """Int64 in [0, high)."""
        return self._mine(torch.randint(0, high, self._all(shape), generator=self.generator))

    def _all(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (shape[0] * self.size, *shape[1:])

    def _mine(self, drawn: Tensor) -> Tensor:
        each = drawn.shape[0] // self.size
        return drawn[self.rank * each : (self.rank + 1) * each]
