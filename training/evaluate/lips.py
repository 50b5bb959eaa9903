"""Measures of how the mouth follows the speech: correlation, lag and closed lips.

Legend: T frames at 25 fps.  A track is a float array [T] in [0, 1]; ``measured`` comes from pixels
(``probes.py``), ``truth`` from the phonemes.  Every function takes lists, one array per video.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flashtalk.arrays import BoolArray, FloatArray, RealArray
from flashtalk.errors import InputError

MAX_LAG_FRAMES = 5
CLOSED_BELOW = 0.2  # of full opening; well above the probe's own error at rest


@dataclass(frozen=True)
class Closure:
    """Lips during silence.  ``frames``: number of silent frames; NaN if there are none."""

    mean_openness: float
    closed_fraction: float
    frames: int


def pearson(a_N: RealArray, b_N: RealArray) -> float:
    """Returns Pearson r in float64; 0.0 if either side is constant (a frozen mouth)."""
    a = np.asarray(a_N, np.float64).ravel()
    b = np.asarray(b_N, np.float64).ravel()
    if a.size != b.size:
        raise InputError("track", a.size, f"must have as many frames as the truth ({b.size})")
    if a.size < 2:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 1e-9 * a.size else 0.0


def lip_corr(measured: Sequence[FloatArray], truth: Sequence[FloatArray]) -> float:
    """Pearson r of the mouth opening, frames of all videos pooled (LipCorr, 6.6)."""
    return lag_profile(measured, truth, max_lag=0)[0]


def lag_profile(
    measured: Sequence[FloatArray], truth: Sequence[FloatArray], *, max_lag: int = MAX_LAG_FRAMES
) -> dict[int, float]:
    """Returns the pooled r for each lag in frames; lag +2 means that the picture is 2 frames late.

    Every lag uses the same frames of the truth (``max_lag`` are dropped at both ends), so that
    lags are comparable.
    """
    if len(measured) != len(truth):
        raise InputError("measured", len(measured), f"one track per truth ({len(truth)})")
    pieces: dict[int, list[tuple[FloatArray, FloatArray]]] = {
        lag: [] for lag in range(-max_lag, max_lag + 1)
    }
    for measured_T, truth_T in zip(measured, truth, strict=True):
        if len(measured_T) != len(truth_T):
            raise InputError(
                "track", len(measured_T), f"must have as many frames as the truth ({len(truth_T)})"
            )
        stop = len(truth_T) - max_lag
        if stop <= max_lag:
            continue
        for lag, pairs in pieces.items():
            pairs.append((measured_T[max_lag + lag : stop + lag], truth_T[max_lag:stop]))
    return {lag: _pooled(pairs) for lag, pairs in pieces.items()}


def _pooled(pairs: list[tuple[FloatArray, FloatArray]]) -> float:
    if not pairs:
        return 0.0
    return pearson(np.concatenate([m for m, _ in pairs]), np.concatenate([t for _, t in pairs]))


def lip_lag(
    measured: Sequence[FloatArray], truth: Sequence[FloatArray], *, max_lag: int = MAX_LAG_FRAMES
) -> int:
    """Returns the lag in frames with the highest pooled r (LipLag; must be 0 +- 1)."""
    profile = lag_profile(measured, truth, max_lag=max_lag)
    return max(profile, key=lambda lag: (profile[lag], -abs(lag)))


def steady_silence(
    silent_T: BoolArray, *, min_frames: int = 8, lead_frames: int = 3, tail_frames: int = 2
) -> BoolArray:
    """The frames [T] in the inside of silences of at least ``min_frames`` (8 = 0.32 s).

    A mouth needs time to close and opens before the sound, so the first ``lead_frames`` and the
    last ``tail_frames`` of each silence do not count.
    """
    kept_T = np.zeros(len(silent_T), np.bool_)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], silent_T.astype(np.int8), [0]])))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start >= min_frames:
            kept_T[start + lead_frames : stop - tail_frames] = True
    return kept_T


def closure(
    measured: Sequence[FloatArray],
    silent: Sequence[BoolArray],
    *,
    closed_below: float = CLOSED_BELOW,
) -> Closure:
    """Returns mean opening, and the fraction of closed frames, inside steady silences."""
    kept = [m[steady_silence(s)] for m, s in zip(measured, silent, strict=True)]
    openness_N = np.concatenate(kept) if kept else np.zeros(0, np.float32)
    if not openness_N.size:
        return Closure(float("nan"), float("nan"), 0)
    return Closure(
        float(openness_N.mean()), float((openness_N < closed_below).mean()), int(openness_N.size)
    )
