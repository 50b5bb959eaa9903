"""WAV files chunk by chunk, with any header that a program might write."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from flashtalk.arrays import Pcm

PCM, FLOAT = 1, 3


def chunk(name: bytes, body: bytes, *, padded: bool = True) -> bytes:
    """Name, length, contents, and the byte that makes the length even."""
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2 if padded else 0)


def fmt(
    pcm_hz: int = 16_000, channels: int = 1, bits: int = 16, tag: int = PCM, step: int | None = None
) -> bytes:
    """The chunk of that name."""
    step = channels * bits // 8 if step is None else step
    per_s = pcm_hz * step & 0xFFFF_FFFF
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, pcm_hz, per_s, step, bits))


def wav_file(
    sound: bytes,
    *,
    data_bytes: int | None = None,
    riff_bytes: int | None = None,
    before: bytes = b"",
    after: bytes = b"",
    kind: bytes | None = None,
) -> bytes:
    """A WAV file.

    Args:
        data_bytes, riff_bytes: what the headers say instead of the truth.
        before, after: chunks around the one with the sound.
        kind: the ``fmt`` chunk; 16 bits mono at 16 kHz by default.
    """
    stated = struct.pack("<I", len(sound) if data_bytes is None else data_bytes)
    inner = b"WAVE" + (kind or fmt()) + before + b"data" + stated + sound + after
    whole = struct.pack("<I", len(inner) if riff_bytes is None else riff_bytes)
    return b"RIFF" + whole + inner


def sixteen_bits(channels: Sequence[Pcm] | Pcm) -> bytes:
    """Samples [S], or of several channels, side by side."""
    together_SC = np.atleast_2d(np.asarray(channels)).T
    return (together_SC * 32_768).round().clip(-32_768, 32_767).astype("<i2").tobytes()
