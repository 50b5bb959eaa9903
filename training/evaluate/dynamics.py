"""Measures of motion and of a person's identity over time.

Legend: T frames, K measured parameters, D identity numbers.
"""

from collections.abc import Sequence

import numpy as np

from flashtalk.arrays import DoubleArray, RealArray
from flashtalk.errors import InputError


def dynamic_ratio(generated: Sequence[RealArray], truth: Sequence[RealArray]) -> float:
    """Returns generated over true variance of tracks [T, K] (or [T]), mean of the K ratios.

    Variances are computed inside each video and averaged over videos, so that differences between
    people do not count as motion.  Both sides must be measured by the same probe, whose noise then
    cancels.  1.0 is as much motion as the truth, 0 is frozen.
    """
    variance_K = _mean_variance(generated)
    reference_K = _mean_variance(truth)
    if variance_K.shape != reference_K.shape:
        raise InputError("generated", variance_K.shape, f"the truth's {reference_K.shape}")
    return float(np.mean(variance_K / np.maximum(reference_K, 1e-12)))


def _mean_variance(tracks: Sequence[RealArray]) -> DoubleArray:
    if not tracks:
        raise InputError("tracks", 0, "at least one video")
    columns = [np.asarray(t, np.float64).reshape(len(t), -1) for t in tracks]
    return np.asarray(np.mean([c.var(axis=0) for c in columns], axis=0), np.float64)


def identity_distance(identity_TD: RealArray, portrait_D: RealArray) -> DoubleArray:
    """Returns the RMS distance [T] of each frame's identity vector to the portrait's.

    Vectors are in units of the population's standard deviation, so the distance of two strangers
    is about sqrt(2) = 1.4 and a perfect probe gives 0 for the same person.
    """
    difference_TD = np.asarray(identity_TD, np.float64) - np.asarray(portrait_D, np.float64)
    return np.asarray(np.sqrt((difference_TD**2).mean(axis=1)), np.float64)


def per_chunk(values_T: RealArray, *, chunk_frames: int) -> DoubleArray:
    """Returns the mean of each chunk; a rest shorter than half a chunk is dropped."""
    chunks = [
        values_T[start : start + chunk_frames] for start in range(0, len(values_T), chunk_frames)
    ]
    kept = [float(np.mean(c)) for c in chunks if 2 * len(c) >= chunk_frames]
    return np.array(kept, np.float64)


def drift_per_chunk(values_T: RealArray, *, chunk_frames: int, skip: int = 2) -> float:
    """Returns the least-squares slope per chunk of a curve [T] from chunk ``skip`` on.

    The first two chunks leave the portrait's own quality and would count as drift.  NaN with
    fewer than three remaining chunks.
    """
    means = per_chunk(values_T, chunk_frames=chunk_frames)[skip:]
    if len(means) < 3:
        return float("nan")
    return float(np.polyfit(np.arange(len(means)), means, 1)[0])
