"""What the leader of a group tells its ranks; values that can be sent to another process.

Legend: N tokens, D width, R rows (35), L layers, C channels, F latent frames, M motion latents,
h w latent size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Keep:
    """Make the keys and values of a conditioning, and keep them under its name.

    Args:
        digest: the name.
        image_tokens, text_tokens: [1, N, D].
        reference_z: [1, C, F, h, w].
    """

    digest: str
    image_tokens: Floats
    text_tokens: Floats
    reference_z: Floats


@dataclass(frozen=True, eq=False)
class Run:
    """Sample one chunk.

    Args:
        digest: of a conditioning that is kept.
        seed, chunk_index: name the noise.
        rows: [R, L, D] speech features.
        motion_z: [1, C, M, h, w].
    """

    digest: str
    seed: int
    chunk_index: int
    rows: Floats
    motion_z: Floats


Command = Keep | Run
