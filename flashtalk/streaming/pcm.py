"""Validation of sound samples. Legend: S samples."""

from __future__ import annotations

import numpy as np

from flashtalk.arrays import AnyArray, Pcm
from flashtalk.errors import InputError


def checked_pcm(pcm_S: AnyArray) -> Pcm:
    """One packet as float32.

    Raises:
        InputError: more than one axis, a type other than float32, or values that are not finite.
    """
    if pcm_S.ndim != 1:
        raise InputError("pcm", list(pcm_S.shape), "one axis of samples")
    if pcm_S.dtype != np.float32:
        raise InputError("pcm", pcm_S.dtype, "float32 in [-1, 1]")
    typed = pcm_S.astype(np.float32, copy=False)
    if not np.isfinite(typed).all():
        raise InputError("pcm", "NaN or infinite samples", "finite samples")
    return typed
