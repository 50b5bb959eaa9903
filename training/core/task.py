"""What a recipe gives the trainer: models, losses of a step, an evaluation, an export."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from training.core.board import Board
from training.core.draws import SharedDraws

MODEL = "model"


@dataclass(frozen=True)
class StepContext:
    """Where a step stands; all of its randomness comes from here.

    The generators are keyed by (seed, step), not carried from step to step, so that the data
    position of a resumed run is its step number and nothing else. They stand alike on every rank:
    ``numpy`` draws for the global batch, ``draws`` gives each rank its rows.
    """

    step: int
    numpy: np.random.Generator
    draws: SharedDraws

    @classmethod
    def create(cls, seed: int, step: int, rank: int = 0, world_size: int = 1) -> "StepContext":
        """The context of one step on one rank."""
        sequence = np.random.SeedSequence([seed, step])
        numpy_seed, torch_seed = sequence.spawn(2)
        generator = torch.Generator().manual_seed(int(torch_seed.generate_state(1)[0]))
        draws = SharedDraws(generator, rank, world_size)
        return cls(step, np.random.default_rng(numpy_seed), draws)


@dataclass(frozen=True)
class ParameterGroup:
    """Modules that one optimizer moves.

    Args:
        modules: their names.
        lr_scale: of the recipe's learning rate.
        averaged: these weights are averaged; else they are what they are.
    """

    modules: tuple[str, ...]
    lr_scale: float = 1.0
    averaged: bool = True


@dataclass(frozen=True)
class Update:
    """One move of one optimizer.

    Args:
        group: whose weights move.
        losses: scalars; ``"loss"`` is the one that is minimised.
    """

    group: str
    losses: Mapping[str, Tensor]


class Task(Protocol):
    """One thing to learn. Weights are evaluated and exported averaged (EMA)."""

    def modules(self) -> Mapping[str, nn.Module]:
        """Modules with trainable parameters, by a stable name."""

    def groups(self) -> Mapping[str, ParameterGroup]:
        """Every module belongs to one group."""

    def prepare(self, *, resumed: bool) -> None:
        """Caches and data-driven initial weights; the latter only if not ``resumed``."""

    def updates(self, context: StepContext) -> Iterator[Update]:
        """Updates of one step; each is carried out before the next is asked for."""

    def carried(self) -> Mapping[str, Tensor]:
        """What later steps need of earlier ones besides weights, by name; for the checkpoint."""

    def make_room(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Lets ``carried`` give tensors of these names and shapes, to be filled."""

    def evaluate(self, board: Board) -> Mapping[str, float]:
        """Metrics on held-out data; pictures go to the board."""

    def export(self, directory: Path) -> None:
        """Writes the finished model (model.safetensors, config.json) to ``directory``."""


class OneLoss:
    """A task that moves all of its modules by one loss per step."""

    def modules(self) -> Mapping[str, nn.Module]:
        """See ``Task``."""
        raise NotImplementedError

    def step(self, context: StepContext) -> Mapping[str, Tensor]:
        """Losses of one batch as scalars; ``"loss"`` is the one that is minimised."""
        raise NotImplementedError

    def groups(self) -> Mapping[str, ParameterGroup]:
        """See ``Task``."""
        return {MODEL: ParameterGroup(tuple(self.modules()))}

    def updates(self, context: StepContext) -> Iterator[Update]:
        """See ``Task``."""
        yield Update(MODEL, self.step(context))

    def carried(self) -> Mapping[str, Tensor]:
        """Nothing: a step needs no other one."""
        return {}

    def make_room(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """See ``carried``."""
