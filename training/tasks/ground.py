"""What Stage 2 stands on: networks to start from, frozen models, data and prompts.

Two grounds share one algorithm: the small one is SynthTalk with models of our own
(``tiny_ground``), the large one a published checkpoint with recorded videos (``full_ground``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from flashtalk.models.dit.model import DiT
from training.core.board import Board
from training.data.batch import Stage2Batch
from training.data.sampler import Beginning
from training.distill.matching import Prompts
from training.distill.rollout import Handover

Split = Literal["train", "val"]


@dataclass(frozen=True)
class Wanted:
    """Which batch: its number among all draws, its chunks, whether streams begin with it.

    Args:
        number: counts draws from 0; sources that go through their samples in order need it.
        chunks: that are rolled out.
        beginning: the first chunk continues the portrait alone; of all samples or of each.
        rng: alike on every rank; sources that draw anew each time use it.
        mine: this rank's rows of the global batch.
    """

    number: int
    chunks: int
    beginning: Beginning
    rng: np.random.Generator
    mine: slice = field(default_factory=lambda: slice(None))


class Ground(Protocol):
    """See the module."""

    def network(self, *, trained: bool) -> DiT:
        """A network with the weights of Stage 1, laid out over the ranks, without dropout."""

    def prepare(self) -> None:
        """Encodes what frozen models say of the data, unless that is done."""

    def handover(self) -> Handover:
        """Motion latents after a chunk."""

    def batch(self, split: Split, wanted: Wanted) -> Stage2Batch:
        """On the device, this rank's rows."""

    def prompts(self, split: Split, video_B: npt.NDArray[np.int64]) -> Prompts:
        """Text tokens of these videos."""

    def report(self, student: DiT, board: Board) -> Mapping[str, float]:
        """Videos of the student for the eye, and what can be measured on them."""

    def export(self, student: DiT, directory: Path) -> None:
        """Writes the finished student; every rank has to call it."""
