"""Commands from the leader of the VAE's ranks; values that can be sent to another process.

Legend: H W pixels, C channels, F latent frames, h w latent size.
"""

from __future__ import annotations

from dataclasses import dataclass

from flashtalk.arrays import FloatArray, Rgb


@dataclass(frozen=True, eq=False)
class Encode:
    """Encodes a portrait to latents.

    Args:
        portrait_HWC: uint8 [H, W, 3].
    """

    portrait_HWC: Rgb


@dataclass(frozen=True, eq=False)
class Decode:
    """Decodes frames of a chunk, and encodes the motion latents after them.

    Args:
        z_BCFHW: [1, C, F, h, w].
        color: [2, 3] statistics of the portrait.
        frames: number of shown frames.
        motion_only: whether only the motion latents are needed.
    """

    z_BCFHW: FloatArray
    color: FloatArray
    frames: int
    motion_only: bool = False


Command = Encode | Decode
