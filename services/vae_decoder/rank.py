"""One rank of the VAE: its slice of every picture.

Legend: H W pixels, T frames, h w latent size.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Self

import numpy as np
import torch

from flashtalk.arrays import FloatArray, Frames
from flashtalk.diffusion.color import ReferenceColor
from flashtalk.engine import Checkpoint, Reference, StageClock, VideoCodec
from services.pod.group import PodGroup, in_step
from services.vae_decoder.commands import Command, Decode, Encode

Spread = Callable[[VideoCodec, Checkpoint], None]


def whole(_codec: VideoCodec, _checkpoint: Checkpoint) -> None:
    """Does nothing: a single rank has the whole network."""


class CodecRank:
    """Runs commands; the same ones in the same order on every rank.

    Args:
        group: the ranks.
        codec: the loaded network, sharded over the ranks.
        strength: strength of the colour correction, 0 to 1.
    """

    def __init__(self, group: PodGroup, codec: VideoCodec, strength: float) -> None:
        self._group, self.codec, self._strength = group, codec, strength

    @classmethod
    def load(cls, checkpoint: Checkpoint, group: PodGroup, spread: Spread = whole) -> Self:
        """Loads the VAE; ``spread`` shards it over the ranks."""
        codec = checkpoint.load_codec()
        spread(codec, checkpoint)
        return cls(group, codec, checkpoint.sampling.color_strength)

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.codec.vae.parameters()).device

    def encode(self, command: Encode) -> Reference:
        """Returns latents and colours of a portrait. Raises InputError for an invalid picture."""
        return self.codec.encode_reference(command.portrait_HWC)

    def decode(self, command: Decode, clock: StageClock) -> Generator[Frames, None, FloatArray]:
        """Yields frames of a chunk, uint8 [T, H, W, 3], a few at a time; returns its motion
        latents, [1, C, M, h, w].

        Args:
            command: without ``motion_only``.
            clock: measures the times of the stages.
        """
        stream = self.codec.stream(
            torch.from_numpy(command.z_BCFHW),
            self._color(command.color),
            self._strength,
            frames=command.frames,
            clock=clock,
        )
        return _floats((yield from in_step(self._group, stream)))

    def motion(self, command: Decode, clock: StageClock) -> FloatArray:
        """Returns only the motion latents; arguments as ``decode``."""
        motion_z = self.codec.motion(
            torch.from_numpy(command.z_BCFHW),
            self._color(command.color),
            self._strength,
            frames=command.frames,
            clock=clock,
        )
        return _floats(motion_z)

    def carry_out(self, command: Command) -> None:
        """Runs a follower's share of a command."""
        clock = StageClock(self.device)
        if isinstance(command, Encode):
            self.encode(command)
        elif command.motion_only:
            self.motion(command, clock)
        else:
            for _ in self.decode(command, clock):
                pass

    def _color(self, statistics: FloatArray) -> ReferenceColor:
        return ReferenceColor.from_array(statistics).to(self.device)


class CodecLeader:
    """Rank 0: sends each command to the others, then does its own share, as ``CodecRank``."""

    def __init__(self, rank: CodecRank, group: PodGroup) -> None:
        self.rank, self._group = rank, group

    def encode(self, command: Encode) -> Reference:
        """Returns latents and colours of a portrait, computed by all ranks."""
        with self._group.together():
            self._group.send(command)
            return self.rank.encode(command)

    def decode(self, command: Decode, clock: StageClock) -> Generator[Frames, None, FloatArray]:
        """Yields frames of a chunk, computed by all ranks; returns its motion latents."""
        with self._group.together():
            self._group.send(command)
            return (yield from self.rank.decode(command, clock))

    def motion(self, command: Decode, clock: StageClock) -> FloatArray:
        """Returns motion latents of a chunk, computed by all ranks."""
        with self._group.together():
            self._group.send(command)
            return self.rank.motion(command, clock)


def _floats(tensor: torch.Tensor) -> FloatArray:
    array: FloatArray = tensor.float().cpu().numpy()
    return np.ascontiguousarray(array)
