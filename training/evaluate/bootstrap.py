"""Uncertainty of the table's numbers: intervals over videos and over training seeds.

Some measures are means over videos, others (LipCorr, dynamic ratio, border ratio) are pooled over
all frames and have no value per video.  The jackknife gives every measure one: n times the value
of all videos less n - 1 times the value without the video (Tukey 1958).  For a mean this is the
video's own value; in general its mean is the table's value except for a bias of order 1/n, and
resampling it gives intervals without measuring again.

Legend: V videos, S training seeds, R resamples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flashtalk.arrays import DoubleArray
from flashtalk.errors import InputError

RESAMPLES = 2000
_LOW, _HIGH = 2.5, 97.5


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its 95 % interval; NaN if there is only one video."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval excludes 0; False without an interval."""
        return self.low > 0 or self.high < 0


def pseudo_values(
    measure: Callable[[Sequence[int]], Mapping[str, float]], videos: int
) -> dict[str, list[float]]:
    """Returns jackknife pseudo-values, one per video, of every number that ``measure`` returns.

    ``measure`` gets the indices of the videos to use.  With one video the values are NaN, since
    none can be left out.
    """
    if videos < 1:
        raise InputError("videos", videos, "at least 1")
    everything = measure(range(videos))
    if videos == 1:
        return {name: [float("nan")] for name in everything}
    without = [measure([k for k in range(videos) if k != left]) for left in range(videos)]
    return {
        name: [videos * value - (videos - 1) * row.get(name, float("nan")) for row in without]
        for name, value in everything.items()
    }


def debiased(measure: Callable[[Sequence[int]], float], videos: int) -> float:
    """Returns the jackknife's value of a number that is biased with few videos.

    It removes the bias of order 1/n (Quenouille 1956); the value of a single video is unchanged.
    """
    if videos == 1:
        return measure(range(1))
    shares = pseudo_values(lambda chosen: {"": measure(chosen)}, videos)
    return float(np.mean(shares[""]))


def interval(
    value: float, pseudo_SV: Sequence[Sequence[float]], *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Returns the 95 % percentile interval of ``value``, the mean over seeds and videos."""
    spread_R = _means(np.asarray(pseudo_SV, np.float64), resamples, seed, stream=0)
    return _around(value, spread_R, np.asarray(pseudo_SV, np.float64))


def difference(
    value: float,
    pseudo_SV: Sequence[Sequence[float]],
    other_SV: Sequence[Sequence[float]],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Returns the interval of ``value``, the first less the other, with the same videos for both.

    Using the same videos makes small differences visible: a hard clip is hard for both.  Training
    seeds are not paired and are drawn separately for each side.

    Raises:
        InputError: different numbers of videos.
    """
    first, second = np.asarray(pseudo_SV, np.float64), np.asarray(other_SV, np.float64)
    if first.shape[1] != second.shape[1]:
        raise InputError("videos", first.shape[1], f"as many as the other has, {second.shape[1]}")
    spread_R = _means(first, resamples, seed, stream=0) - _means(second, resamples, seed, stream=1)
    return _around(value, spread_R, np.array([[first.mean() - second.mean()] * first.shape[1]]))


def _means(pseudo_SV: DoubleArray, resamples: int, seed: int, *, stream: int) -> DoubleArray:
    """Means [R] of resampled seeds and videos; the videos depend on ``seed`` alone."""
    seeds, videos = pseudo_SV.shape
    video_RV = np.random.default_rng(seed).integers(videos, size=(resamples, videos))
    seed_RS = np.random.default_rng([seed, stream]).integers(seeds, size=(resamples, seeds))
    # Mean over the drawn seeds first, since every seed has the same videos.
    weight_RS = np.stack([(seed_RS == k).mean(axis=1) for k in range(seeds)], axis=1)
    drawn_RS = np.stack([row[video_RV].mean(axis=1) for row in pseudo_SV], axis=1)
    return np.asarray((weight_RS * drawn_RS).sum(axis=1), np.float64)


def _around(value: float, spread_R: DoubleArray, pseudo_SV: DoubleArray) -> Interval:
    """The spread about its own middle, moved to the value: so the jackknife's bias is no shift."""
    if pseudo_SV.shape[1] < 2 or not np.isfinite(spread_R).all():
        return Interval(value, float("nan"), float("nan"))
    low, high = np.percentile(spread_R - pseudo_SV.mean(), [_LOW, _HIGH])
    return Interval(value, value + float(low), value + float(high))
