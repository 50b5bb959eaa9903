"""Preprocessing of the speech encoder's waveform: fixed loudness, zero mean, unit variance.

Legend: N samples.
"""

from __future__ import annotations

import numpy as np

from flashtalk.arrays import FloatArray, RealArray
from flashtalk.errors import InputError
from flashtalk.models.wav2vec2.loudness_meter import integrated_loudness
from flashtalk.streaming.spec import FPS, PCM_HZ

TARGET_LUFS = -23.0
VARIANCE_EPS = 1e-7


def feature_frames(samples: int, pcm_hz: int = PCM_HZ, fps: int = FPS) -> int:
    """Returns the whole video frames in ``samples``: floor(seconds * fps), in exact arithmetic."""
    return samples * fps // pcm_hz


def match_loudness(
    pcm_N: RealArray, pcm_hz: int = PCM_HZ, target_lufs: float = TARGET_LUFS
) -> RealArray:
    """Scales the waveform to the target loudness; unchanged if its loudness is not measurable.

    Args:
        pcm_N: [N] samples in [-1, 1]; the result is not clipped.
        pcm_hz: sampling rate.
        target_lufs: target loudness.
    """
    loudness = integrated_loudness(pcm_N, pcm_hz)
    if not np.isfinite(loudness):
        return pcm_N
    return pcm_N * 10 ** ((target_lufs - loudness) / 20)


def unit_variance(pcm_N: RealArray) -> FloatArray:
    """Normalises to zero mean and unit (population) variance; silence remains silent."""
    centred = pcm_N.astype(np.float64) - pcm_N.mean(dtype=np.float64)
    scaled: FloatArray = (centred / np.sqrt(centred.var() + VARIANCE_EPS)).astype(np.float32)
    return scaled


def prepare_pcm(pcm_N: RealArray, pcm_hz: int = PCM_HZ, *, loudness: bool = True) -> FloatArray:
    """Normalises to -23 LUFS, then to unit variance: the input of ``Wav2Vec2Features``.

    Args:
        pcm_N: [N] samples in [-1, 1], the whole 8 s window in streaming.
        pcm_hz: sampling rate.
        loudness: False omits the first step, as the FlashHead models do.

    Raises:
        InputError: not one-dimensional, empty, or with values that are not finite.
    """
    if pcm_N.ndim != 1 or not pcm_N.size:
        raise InputError("pcm", list(pcm_N.shape), "one channel of samples")
    if not np.isfinite(pcm_N).all():
        raise InputError("pcm", "NaN or infinite samples", "finite samples")
    return unit_variance(match_loudness(pcm_N, pcm_hz) if loudness else pcm_N)
