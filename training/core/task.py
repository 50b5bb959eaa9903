"""What a recipe gives the trainer: models, a loss per step, an evaluation, an export."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from training.core.board import Board


@dataclass(frozen=True)
class StepContext:
    """Where a step stands; all of its randomness comes from here.

    The generators are keyed by (seed, step, rank), not carried from step to step, so that the
    data position of a resumed run is its step number and nothing else.
    """

    step: int
    numpy: np.random.Generator
    torch: torch.Generator
    rank: int = 0
    world_size: int = 1

    @classmethod
    def create(cls, seed: int, step: int, rank: int = 0, world_size: int = 1) -> "StepContext":
        """The context of one step on one rank."""
        sequence = np.random.SeedSequence([seed, step, rank])
        numpy_seed, torch_seed = sequence.spawn(2)
        generator = torch.Generator().manual_seed(int(torch_seed.generate_state(1)[0]))
        return cls(step, np.random.default_rng(numpy_seed), generator, rank, world_size)


class Task(Protocol):
    """One thing to learn. Weights are evaluated and exported averaged (EMA)."""

    def modules(self) -> Mapping[str, nn.Module]:
        """Modules with trainable parameters, by a stable name."""

    def prepare(self, *, resumed: bool) -> None:
        """Caches and data-driven initial weights; the latter only if not ``resumed``."""

    def step(self, context: StepContext) -> Mapping[str, Tensor]:
        """Losses of one batch as scalars; ``"loss"`` is the one that is minimised."""

    def evaluate(self, board: Board) -> Mapping[str, float]:
        """Metrics on held-out data; pictures go to the board."""

    def export(self, directory: Path) -> None:
        """Writes the finished model (model.safetensors, config.json) to ``directory``."""
