"""The gated loudness of one channel by ITU-R BS.1770-4.

Implemented here because pyloudnorm imports SciPy, which costs every speech worker a second and 60
MB. The tests compare both to 1e-9 LU.

Legend: N samples, K taps, J gating blocks.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from flashtalk.arrays import DoubleArray, RealArray
from flashtalk.streaming.spec import PCM_HZ

_BLOCK_S = 0.4
"""A gating block: shorter audio has no measurable loudness."""
_BLOCKS_OVERLAP = 4
"""A block begins every quarter of a block."""
_ABSOLUTE_LUFS = -70.0
_RELATIVE_LU = -10.0
_OFFSET_LU = -0.691
"""0 LUFS is a full-scale sine of 997 Hz in one channel, to 3 dB."""
_FORGOTTEN = 1e-18
"""Remaining share of the filters' impulse response at which it is truncated."""


@dataclass(frozen=True)
class Biquad:
    """``y[n] = b0 x[n] + b1 x[n-1] + b2 x[n-2] - a1 y[n-1] - a2 y[n-2]``."""

    b: tuple[float, float, float]
    a: tuple[float, float]

    @classmethod
    def of(cls, b0: float, b1: float, b2: float, a0: float, a1: float, a2: float) -> Biquad:
        """Returns the filter with all coefficients divided by ``a0``."""
        return cls((b0 / a0, b1 / a0, b2 / a0), (a1 / a0, a2 / a0))

    def answer(self, x_K: DoubleArray) -> DoubleArray:
        """Returns the filtered signal, with the length of the input."""
        y_K = np.zeros(len(x_K) + 2)
        x_K = np.concatenate([np.zeros(2), x_K])
        for n in range(2, len(y_K)):
            y_K[n] = (
                self.b[0] * x_K[n]
                + self.b[1] * x_K[n - 1]
                + self.b[2] * x_K[n - 2]
                - self.a[0] * y_K[n - 1]
                - self.a[1] * y_K[n - 2]
            )
        return y_K[2:]


def high_shelf(pcm_hz: int) -> Biquad:
    """The effect of the head: +4 dB above 1500 Hz (Bristow-Johnson's shelf, as in pyloudnorm)."""
    gain = 10 ** (4.0 / 40)
    angle = 2 * math.pi * 1500.0 / pcm_hz
    cosine, slope = math.cos(angle), math.sin(angle) / math.sqrt(2) * 2 * math.sqrt(gain)
    more, less = gain + 1, gain - 1
    return Biquad.of(
        gain * (more + less * cosine + slope),
        -2 * gain * (less + more * cosine),
        gain * (more + less * cosine - slope),
        more - less * cosine + slope,
        2 * (less - more * cosine),
        more - less * cosine - slope,
    )


def high_pass(pcm_hz: int) -> Biquad:
    """The ear's low-frequency roll-off below 38 Hz, with a Q of one half."""
    angle = 2 * math.pi * 38.0 / pcm_hz
    cosine, slope = math.cos(angle), math.sin(angle)
    side = (1 + cosine) / 2
    return Biquad.of(side, -2 * side, side, 1 + slope, -2 * cosine, 1 - slope)


@functools.lru_cache(maxsize=4)
def k_weighting(pcm_hz: int) -> DoubleArray:
    """Returns taps [K] of both filters in series, until their response has decayed."""
    # The high-pass decays more slowly; both of its poles have this magnitude.
    pole = math.sqrt(high_pass(pcm_hz).a[1])
    impulse_K = np.zeros(math.ceil(math.log(_FORGOTTEN) / math.log(pole)))
    impulse_K[0] = 1.0
    return high_pass(pcm_hz).answer(high_shelf(pcm_hz).answer(impulse_K))


def k_weighted(pcm_N: RealArray, pcm_hz: int) -> DoubleArray:
    """Returns the K-weighted waveform [N].

    A recursion over samples is slow in Python; the same convolution needs three Fourier transforms.
    """
    taps_K = k_weighting(pcm_hz)
    size = _fast_size(pcm_N.size + taps_K.size - 1)
    spectrum = np.fft.rfft(pcm_N.astype(np.float64), size) * np.fft.rfft(taps_K, size)
    return np.fft.irfft(spectrum, size)[: pcm_N.size]


def _fast_size(least: int) -> int:
    """Returns the smallest number >= ``least`` that is 1, 3 or 5 times a power of two."""
    powers = [factor * (1 << max(0, math.ceil(math.log2(least / factor)))) for factor in (1, 3, 5)]
    return min(powers)


def integrated_loudness(pcm_N: RealArray, pcm_hz: int = PCM_HZ) -> float:
    """Returns the gated loudness in LUFS; ``-inf`` if there is nothing to measure.

    Args:
        pcm_N: [N] samples in [-1, 1].
        pcm_hz: sampling rate.
    """
    if pcm_N.size < _BLOCK_S * pcm_hz or not np.any(pcm_N):
        return -math.inf
    power_J = _block_powers(k_weighted(pcm_N, pcm_hz), pcm_hz)
    loud_J = power_J[power_J >= _power(_ABSOLUTE_LUFS)]
    if not loud_J.size:
        return -math.inf
    # Only blocks of speech count, not the pauses between them.
    gate = max(loud_J.mean() * 10 ** (_RELATIVE_LU / 10), _power(_ABSOLUTE_LUFS))
    return _lufs(float(loud_J[loud_J > gate].mean()))


def _block_powers(weighted_N: DoubleArray, pcm_hz: int) -> DoubleArray:
    """Returns the mean squares of overlapping blocks [J]."""
    step_s = _BLOCK_S / _BLOCKS_OVERLAP
    blocks = round((weighted_N.size / pcm_hz - _BLOCK_S) / step_s) + 1
    square_N = np.square(weighted_N)
    sums = []
    for index in range(blocks):
        begin = int(index * step_s * pcm_hz)
        end = int((index + _BLOCKS_OVERLAP) * step_s * pcm_hz)
        sums.append(square_N[begin:end].sum())
    return np.array(sums) / (_BLOCK_S * pcm_hz)


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET_LU) / 10))


def _lufs(power: float) -> float:
    return _OFFSET_LU + 10 * math.log10(power)
