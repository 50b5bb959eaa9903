"""The state of a session between chunks, as a value.

Legend: B batch, C latent channels, M motion latents, H W latent size.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor

from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec


@dataclass(frozen=True, eq=False)
class DiffusionState:
    """Everything besides the session's constants that the next chunk depends on.

    Args:
        seed: of the session's noise.
        chunk_index: number of the next chunk.
        motion_z: [B, 16, M, H, W] clean latents that the next chunk continues: the portrait's
            before chunk 0, then those of the last frames shown.
        spec: spec of the stream.
    """

    seed: int
    chunk_index: int
    motion_z: Tensor
    spec: StreamSpec

    def __post_init__(self) -> None:
        if self.chunk_index < 0:
            raise InputError("chunk_index", self.chunk_index, "at least 0")
        motion = self.spec.motion_latents_for(self.chunk_index)
        shape = tuple(self.motion_z.shape)
        if len(shape) != 5 or shape[1:3] != (self.spec.latent_channels, motion):
            limit = f"[B, {self.spec.latent_channels}, {motion}, H, W] for {self.chunk_index=}"
            raise InputError("motion latents", shape, limit)

    @classmethod
    def start(cls, seed: int, portrait_z: Tensor, spec: StreamSpec) -> DiffusionState:
        """Before the first chunk.

        Args:
            seed: of the session's noise.
            portrait_z: [B, 16, F >= 1, H, W] latents whose first frame is the portrait, for example
                those of ``reference_clip``, because the VAE is causal.
            spec: spec of the stream.
        """
        return cls(seed, 0, portrait_z[:, :, :1], spec)

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Returns the shape (B, C, F, H, W) of the next chunk's latents."""
        batch, channels, _, height, width = self.motion_z.shape
        return batch, channels, self.spec.latent_frames, height, width

    def advance(self, motion_z: Tensor) -> DiffusionState:
        """After a chunk was made.

        Args:
            motion_z: [B, 16, 2, H, W] latents of the chunk's last frames as shown (decoded,
                colour corrected, re-encoded).

        Raises:
            InputError: the shape is not that of this session's motion latents.
        """
        batch, channels, _, height, width = self.motion_z.shape
        expected = (batch, channels, self.spec.motion_latents, height, width)
        if motion_z.shape != expected:
            raise InputError("motion latents", tuple(motion_z.shape), f"{expected}")
        return dataclasses.replace(self, chunk_index=self.chunk_index + 1, motion_z=motion_z)
