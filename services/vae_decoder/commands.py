"""What the leader of a VAE's ranks tells them; values that can be sent to another process.

Legend: H W pixels, C channels, F latent frames, h w latent size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Encode:
    """Latents of a portrait.

    Args:
        portrait_HWC: uint8 [H, W, 3].
    """

    portrait_HWC: Frames


@dataclass(frozen=True, eq=False)
class Decode:
    """Frames of a chunk, and the motion latents after them.

    Args:
        z_BCFHW: [1, C, F, h, w].
        color: [2, 3] statistics of the portrait.
        frames: how many are shown.
        motion_only: only the motion latents.
    """

    z_BCFHW: Floats
    color: Floats
    frames: int
    motion_only: bool = False


Command = Encode | Decode
