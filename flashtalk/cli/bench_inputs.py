"""Inputs of a benchmark: a picture and endless sound, the same on every machine.

Legend: H W pixels, C channels (3), S samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np

from flashtalk.arrays import Rgb
from flashtalk.media import read_image, stream_pcm
from flashtalk.streaming import Pcm

PACKET_S = 0.02
_LONGEST_SOUND_S = 60
_DRAWN_SECONDS = 10
_SYLLABLE_HZ, _PITCH_HZ, _HARMONICS, _LOUDNESS = 4.0, 120.0, 12, 0.1


def portrait(path: Path | None, size_hw: tuple[int, int] = (256, 256)) -> Rgb:
    """Returns a picture file, or a drawn one: an oval on a gradient, uint8 [H, W, 3].

    Raises:
        InputError: not a picture.
    """
    if path is not None:
        return read_image(path)
    height, width = size_hw
    rows_H1 = np.linspace(-1, 1, height)[:, None]
    columns_1W = np.linspace(-1, 1, width)[None]
    oval_HW = (columns_1W / 0.55) ** 2 + (rows_H1 / 0.75) ** 2 < 1
    shade_HW = 140 + 50 * rows_H1 + 30 * columns_1W
    skin_C, wall_C = np.array([1.0, 0.8, 0.7]), np.array([0.6, 0.7, 0.9])
    colour_HWC = np.where(oval_HW[..., None], skin_C, wall_C)
    return (shade_HW[..., None] * colour_HWC).astype(np.uint8)


def sound(path: Path | None, pcm_hz: int) -> Pcm:
    """Returns the first minute of a sound file, or a synthetic tone in syllables, float32 [S].

    Raises:
        InputError: not a sound file.
    """
    if path is not None:
        samples = chain.from_iterable(stream_pcm(path, pcm_hz))
        return np.fromiter(islice(samples, _LONGEST_SOUND_S * pcm_hz), np.float32)
    time_S = np.arange(_DRAWN_SECONDS * pcm_hz) / pcm_hz
    voice_S = sum(
        np.sin(2 * np.pi * _PITCH_HZ * number * time_S) / number
        for number in range(1, _HARMONICS + 1)
    )
    envelope_S = np.sin(np.pi * _SYLLABLE_HZ * time_S) ** 2
    return (_LOUDNESS * envelope_S * voice_S).astype(np.float32)


def packets(pcm_S: Pcm, samples: int, pcm_hz: int) -> Iterator[Pcm]:
    """Yields the sound repeatedly in packets of 20 ms, ``samples`` in all; constant memory."""
    step = round(PACKET_S * pcm_hz)
    for first in range(0, samples, step):
        yield pcm_S[np.arange(first, min(first + step, samples)) % len(pcm_S)]
