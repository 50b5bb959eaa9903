"""The audio side of SyncNet: 13 mel cepstra at 100 Hz, cut into windows of 0.2 s.

The published SyncNet was trained on the defaults of the package python_speech_features (25 ms
frames without a window function, steps of 10 ms, pre-emphasis 0.97, 26 mel filters on an FFT of
512, lifter 22, log frame energy in place of the first cepstrum) on 16-bit samples.  This is a
vectorised implementation of the same arithmetic; only the definition is shared.

Legend: N samples at 16 kHz, M frames at 100 Hz, C 13 cepstra, F filters, K spectrum bins, T video
frames at 25 fps, W 20 frames of one window.
"""

from functools import cache

import numpy as np
from scipy.fft import dct

from flashtalk.arrays import DoubleArray, FloatArray, Pcm
from flashtalk.errors import InputError
from flashtalk.streaming import FPS, PCM_HZ

FRAME_SAMPLES = PCM_HZ // FPS
CEPSTRA = 13
WINDOW_FRAMES = 20  # 0.2 s: the duration of five video frames
FRAMES_PER_PICTURE = 4
_FRAME, _STEP, _FFT, _FILTERS = 400, 160, 512, 26
_LIFTER, _PREEMPHASIS, _FULL_SCALE = 22, 0.97, 32768.0


def mfcc(pcm_N: Pcm) -> FloatArray:
    """Returns cepstra float32 [M, 13] of speech float32 [N] in [-1, 1] at 16 kHz; M = N / 160.

    Raises:
        InputError: not one-dimensional, or empty.
    """
    if pcm_N.ndim != 1 or not len(pcm_N):
        raise InputError("pcm", pcm_N.shape, "[samples], at least one")
    power_MK = np.abs(np.fft.rfft(_frames(_emphasised(pcm_N)), _FFT)) ** 2 / _FFT
    tiny = np.finfo(np.float64).eps
    energy_M = np.maximum(power_MK.sum(axis=1), tiny)
    filtered_MF = power_MK @ _filterbank().T
    # Digital silence has no logarithm; the reference uses the smallest step there, as here.
    filtered_MF = np.where(filtered_MF == 0, tiny, filtered_MF)
    cepstra_MC = dct(np.log(filtered_MF), type=2, axis=1, norm="ortho")[:, :CEPSTRA]
    order_C = np.arange(CEPSTRA)
    cepstra_MC = cepstra_MC * (1 + _LIFTER / 2 * np.sin(np.pi * order_C / _LIFTER))
    cepstra_MC[:, 0] = np.log(energy_M)
    return np.asarray(cepstra_MC, np.float32)


def windows(cepstra_MC: FloatArray, count: int) -> FloatArray:
    """Returns windows [T, 13, 20] of the first ``count`` video frames: 20 steps from each frame.

    Raises:
        InputError: the speech is too short for that many windows.
    """
    needed = (count - 1) * FRAMES_PER_PICTURE + WINDOW_FRAMES
    if count < 1 or len(cepstra_MC) < needed:
        raise InputError("speech", len(cepstra_MC), f"at least {needed} steps of 10 ms")
    index_TW = FRAMES_PER_PICTURE * np.arange(count)[:, None] + np.arange(WINDOW_FRAMES)
    return np.ascontiguousarray(cepstra_MC[index_TW].transpose(0, 2, 1))


def _emphasised(pcm_N: Pcm) -> DoubleArray:
    # Whole numbers, as a 16-bit file would hold them: the logarithms depend on the scale.
    signal_N = np.round(pcm_N.astype(np.float64) * _FULL_SCALE)
    return np.append(signal_N[0], signal_N[1:] - _PREEMPHASIS * signal_N[:-1])


def _frames(signal_N: DoubleArray) -> DoubleArray:
    """Overlapping frames [M, 400]; the last one is filled up with zeros."""
    count = 1 + max(0, -(-(len(signal_N) - _FRAME) // _STEP))
    padded = np.zeros((count - 1) * _STEP + _FRAME)
    padded[: len(signal_N)] = signal_N
    return padded[_STEP * np.arange(count)[:, None] + np.arange(_FRAME)]


@cache
def _filterbank() -> DoubleArray:
    """Triangles [F, K], equally spaced in mels (2595 log10(1 + f / 700)) from 0 to 8 kHz."""
    top_mel = 2595 * np.log10(1 + PCM_HZ / 2 / 700)
    corner_hz = 700 * (10 ** (np.linspace(0, top_mel, _FILTERS + 2) / 2595) - 1)
    corner = np.floor((_FFT + 1) * corner_hz / PCM_HZ)
    bin_K = np.arange(_FFT // 2 + 1)
    low, middle, high = (corner[k : k + _FILTERS, None] for k in range(3))
    rising = (bin_K - low) / np.maximum(middle - low, 1)
    falling = (high - bin_K) / np.maximum(high - middle, 1)
    is_left = (bin_K >= low) & (bin_K < middle)
    is_right = (bin_K >= middle) & (bin_K < high)
    return np.asarray(np.where(is_left, rising, 0) + np.where(is_right, falling, 0), np.float64)
