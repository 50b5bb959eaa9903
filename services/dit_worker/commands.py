"""Commands from the leader of a group to its ranks; values that can be sent between processes.

Legend: N tokens, D width, R rows (35), L layers, C channels, F latent frames, M motion latents,
h w latent size.
"""

from __future__ import annotations

from dataclasses import dataclass

from flashtalk.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Tokens:
    """Encoded portrait and prompt, each [1, N, D]."""

    image: FloatArray
    text: FloatArray


@dataclass(frozen=True, eq=False)
class Keep:
    """Computes the keys and values of a conditioning and caches them under its name.

    Args:
        digest: name of the conditioning.
        tokens: of portrait and prompt; ``None``: the network takes neither.
        reference_z: [1, C, F, h, w].
    """

    digest: str
    tokens: Tokens | None
    reference_z: FloatArray


@dataclass(frozen=True, eq=False)
class Run:
    """Samples one chunk.

    Args:
        digest: of a cached conditioning.
        seed, chunk_index: key of the noise.
        rows: [R, L, D] speech features.
        motion_z: [1, C, M, h, w].
    """

    digest: str
    seed: int
    chunk_index: int
    rows: FloatArray
    motion_z: FloatArray


Command = Keep | Run
