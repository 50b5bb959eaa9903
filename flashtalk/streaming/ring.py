"""The last seconds of sound: a ring that always gives a full window, zeros where there was none.

Legend: S samples.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from flashtalk.errors import InputError

Pcm: TypeAlias = npt.NDArray[np.float32]


def checked_pcm(pcm_S: npt.NDArray[np.generic]) -> Pcm:
    """One packet as float32.

    Raises:
        InputError: more than one axis, another type than float32, or values that are not finite.
    """
    if pcm_S.ndim != 1:
        raise InputError("pcm", list(pcm_S.shape), "one axis of samples")
    if pcm_S.dtype != np.float32:
        raise InputError("pcm", pcm_S.dtype, "float32 in [-1, 1]")
    typed = pcm_S.astype(np.float32, copy=False)
    if not np.isfinite(typed).all():
        raise InputError("pcm", "NaN or infinite samples", "finite samples")
    return typed


class AudioRing:
    """The newest ``size`` samples of a stream. A value: ``copy()`` is independent of the original.

    Args:
        size: samples that the window holds (128,000: ``StreamSpec.window_samples``).
    """

    def __init__(self, size: int) -> None:
        if size <= 0:
            raise InputError("ring", size, "a positive number of samples")
        self._samples = np.zeros(size, np.float32)
        self._oldest = 0

    def push(self, pcm_S: Pcm) -> None:
        """Append samples, of which only the newest ``size`` are kept.

        Raises:
            InputError: not a single axis of finite float32 samples.
        """
        size = len(self._samples)
        kept = checked_pcm(pcm_S)[-size:]
        first = min(len(kept), size - self._oldest)
        self._samples[self._oldest : self._oldest + first] = kept[:first]
        self._samples[: len(kept) - first] = kept[first:]
        self._oldest = (self._oldest + len(kept)) % size

    def window(self) -> Pcm:
        """A copy of the newest samples in order, float32 [size]; older than the stream: zeros."""
        return np.concatenate((self._samples[self._oldest :], self._samples[: self._oldest]))

    def copy(self) -> AudioRing:
        """The same samples in a ring of its own."""
        other = AudioRing(len(self._samples))
        other._samples[:] = self._samples
        other._oldest = self._oldest
        return other
