"""The interface of a recipe to the trainer: models, losses of a step, evaluation, export."""

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
    """The context of a step; the source of all its randomness.

    The generators are keyed by (seed, step), not carried from step to step, so that the data
    position of a resumed run is only its step number. They have the same state on every rank:
    ``numpy`` draws for the global batch, ``draws`` returns each rank's rows.
    """

    step: int
    numpy: np.random.Generator
    draws: SharedDraws

    @classmethod
    def create(cls, seed: int, step: int, rank: int = 0, world_size: int = 1) -> "StepContext":
        """Returns the context of one step on one rank."""
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
        lr_scale: factor of the recipe's learning rate.
        averaged: whether these weights are averaged.
    """

    modules: tuple[str, ...]
    lr_scale: float = 1.0
    averaged: bool = True


@dataclass(frozen=True)
class Update:
    """One update of one optimizer.

    Args:
        group: the group whose weights change.
        losses: scalars; ``"loss"`` is minimised.
    """

    group: str
    losses: Mapping[str, Tensor]


class Task(Protocol):
    """A training task. Weights are evaluated and exported averaged (EMA)."""

    def modules(self) -> Mapping[str, nn.Module]:
        """Returns modules with trainable parameters, by a stable name."""

    def groups(self) -> Mapping[str, ParameterGroup]:
        """Every module belongs to one group."""

    def prepare(self, *, resumed: bool) -> None:
        """Builds caches and data-driven initial weights; the latter only if not ``resumed``."""

    def updates(self, context: StepContext) -> Iterator[Update]:
        """Yields the updates of one step; each is applied before the next is requested."""

    def carried(self) -> Mapping[str, Tensor]:
        """Returns the state between steps besides weights, by name, for the checkpoint."""

    def make_room(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Allocates tensors of these names and shapes for ``carried``, to be filled."""

    def evaluate(self, board: Board) -> Mapping[str, float]:
        """Returns metrics on held-out data; writes pictures to the board."""

    def export(self, directory: Path) -> None:
        """Writes the finished model (model.safetensors, config.json) to ``directory``."""


class OneLoss:
    """A task with one loss per step for all of its modules."""

    def modules(self) -> Mapping[str, nn.Module]:
        """Returns modules with trainable parameters, by a stable name."""
        raise NotImplementedError

    def step(self, context: StepContext) -> Mapping[str, Tensor]:
        """Returns losses of one batch as scalars; ``"loss"`` is minimised."""
        raise NotImplementedError

    def groups(self) -> Mapping[str, ParameterGroup]:
        """Returns one group with all modules."""
        return {MODEL: ParameterGroup(tuple(self.modules()))}

    def updates(self, context: StepContext) -> Iterator[Update]:
        """Yields one update with the losses of ``step``."""
        yield Update(MODEL, self.step(context))

    def carried(self) -> Mapping[str, Tensor]:
        """Returns nothing: steps are independent."""
        return {}

    def make_room(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Does nothing, since nothing is carried."""
