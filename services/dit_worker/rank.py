"""One rank: its share of the network, and its cached conditionings.

Legend: as in ``commands``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

import numpy as np
import torch

from flashtalk.arrays import FloatArray
from flashtalk.diffusion.state import DiffusionState
from flashtalk.engine import Checkpoint, Denoiser, EncodedPrompt, Sampling
from flashtalk.engine.audio import windows_from_rows
from flashtalk.serving.lane import Cancellation, Stopped
from flashtalk.streaming import StreamSpec
from services.dit_worker.commands import Command, Keep, Run
from services.dit_worker.conditionings import ConditioningCache, ConditioningMissing
from services.pod.group import PodGroup

Spread = Callable[[Denoiser, Checkpoint], None]
"""Distributes a network over the ranks of its group, as its checkpoint's placement requires."""


def whole(_denoiser: Denoiser, _checkpoint: Checkpoint) -> None:
    """Does nothing: a single rank has the whole network."""


class DenoiseRank:
    """Carries out commands; every rank gets the same ones in the same order.

    Args:
        group: the ranks.
        denoiser: the loaded network, distributed over them.
        spec: stream spec of its weights.
        sampling: its sampling settings.
        conditioning_bytes: memory for conditionings.
    """

    def __init__(
        self,
        group: PodGroup,
        denoiser: Denoiser,
        spec: StreamSpec,
        sampling: Sampling,
        conditioning_bytes: int,
    ) -> None:
        self._group, self.denoiser, self._sampling = group, denoiser, sampling
        self._spec = spec
        self.conditionings = ConditioningCache(conditioning_bytes)

    @classmethod
    def load(
        cls,
        checkpoint: Checkpoint,
        group: PodGroup,
        conditioning_bytes: int,
        spread: Spread = whole,
    ) -> Self:
        """Loads the transformer; ``spread`` distributes it over the ranks."""
        denoiser = checkpoint.load_denoiser()
        spread(denoiser, checkpoint)
        return cls(group, denoiser, checkpoint.spec, checkpoint.sampling, conditioning_bytes)

    def keep(self, command: Keep) -> None:
        """Caches a conditioning under its digest. Raises InputError for tokens that do not fit."""
        tokens, z = command.tokens, torch.from_numpy(command.reference_z)
        encoded = None
        if tokens is not None:
            encoded = EncodedPrompt(torch.from_numpy(tokens.image), torch.from_numpy(tokens.text))
        self.conditionings.put(self.denoiser.conditioned(encoded, z, command.digest))

    def run(self, command: Run, cancellation: Cancellation) -> tuple[FloatArray, float]:
        """Latents of one chunk.

        Returns:
            [1, C, F, h, w] latents, and the seconds that they took.

        Raises:
            ConditioningMissing: it is not cached.
            Stopped: the chunk was cancelled.
        """
        begun_s = time.perf_counter()
        conditioning = self.conditionings.get(command.digest)
        if conditioning is None:
            raise ConditioningMissing(command.digest)

        def check() -> None:
            if not self._group.agree(not cancellation.cancelled):
                raise Stopped

        z_BCFHW = self.denoiser.denoise(
            conditioning,
            windows_from_rows(torch.from_numpy(command.rows), self._spec),
            DiffusionState(
                command.seed, command.chunk_index, torch.from_numpy(command.motion_z), self._spec
            ),
            self._sampling,
            before_step=check,
        )
        latents: FloatArray = np.ascontiguousarray(z_BCFHW.float().cpu().numpy())
        return latents, time.perf_counter() - begun_s

    def carry_out(self, command: Command) -> None:
        """Carries out a follower's share of a command."""
        if isinstance(command, Keep):
            self.keep(command)
        else:
            self.run(command, Cancellation())


class Leader:
    """Rank 0: sends the command to the others, then carries out its own share."""

    def __init__(self, rank: DenoiseRank, group: PodGroup) -> None:
        self.rank, self._group = rank, group

    def keep(self, command: Keep) -> None:
        """Caches a conditioning on every rank; arguments and errors as ``DenoiseRank.keep``."""
        with self._group.together():
            self._group.send(command)
            self.rank.keep(command)

    def run(self, command: Run, cancellation: Cancellation) -> tuple[FloatArray, float]:
        """Latents of one chunk by all ranks, as ``DenoiseRank.run``.

        If the conditioning is not cached, followers do not get the command.
        """
        if command.digest not in self.rank.conditionings:
            raise ConditioningMissing(command.digest)
        with self._group.together():
            self._group.send(command)
            return self.rank.run(command, cancellation)
