"""Intervals hold what they promise, pair the videos and know about training seeds."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from flashtalk.errors import InputError
from training.evaluate.bootstrap import Interval, difference, interval, pseudo_values
from training.evaluate.lips import lip_corr


def means(values: Sequence[float]) -> dict[str, list[float]]:
    return pseudo_values(
        lambda chosen: {"m": float(np.mean([values[k] for k in chosen]))}, len(values)
    )


def test_of_a_mean_the_shares_are_the_videos_own_values() -> None:
    values = [1.0, 4.0, -2.0, 0.5]
    np.testing.assert_allclose(means(values)["m"], values)
    assert math.isnan(means([3.0])["m"][0])
    with pytest.raises(InputError, match="videos"):
        means([])


def test_a_pooled_correlation_has_shares_too() -> None:
    rng = np.random.default_rng(0)
    truth = [rng.normal(size=200).astype(np.float32) for _ in range(12)]
    heard = [
        (t + (2.0 if k == 3 else 0.3) * rng.normal(size=200)).astype(np.float32)
        for k, t in enumerate(truth)
    ]

    def measure(chosen: Sequence[int]) -> dict[str, float]:
        return {"r": lip_corr([heard[k] for k in chosen], [truth[k] for k in chosen])}

    shares = pseudo_values(measure, 12)["r"]
    everything = measure(range(12))["r"]
    assert np.mean(shares) == pytest.approx(everything, abs=0.05)
    assert int(np.argmin(shares)) == 3
    found = interval(everything, [shares])
    assert found.low < everything < found.high < 1.01


def test_the_interval_of_a_mean_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits, trials = 0, 2_000
    for _ in range(trials):
        values = rng.normal(3.0, 1.0, 30)
        found = interval(float(values.mean()), [list(values)], resamples=300)
        hits += found.low <= 3.0 <= found.high
    # Of 30 values such an interval covers a little less than its 95 %: 93.0 % of 6,000 trials. The
    # share of 2,000 trials has a deviation of 0.6 %, and five of them to each side are left to it.
    assert 0.90 <= hits / trials <= 0.96


def test_seeds_that_disagree_widen_the_interval() -> None:
    rng = np.random.default_rng(2)
    videos = rng.normal(0, 0.1, 40)
    alike = [list(videos + shift) for shift in (0.0, 0.01, -0.01)]
    apart = [list(videos + shift) for shift in (0.0, 1.0, -1.0)]
    narrow, wide = interval(0.0, alike), interval(0.0, apart)
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)


def test_pairing_shows_a_small_difference_between_hard_and_easy_videos() -> None:
    rng = np.random.default_rng(3)
    hardness = rng.normal(0, 1.0, 32)
    worse = list(hardness + rng.normal(0, 0.02, 32))
    better = list(hardness + 0.1 + rng.normal(0, 0.02, 32))
    found = difference(0.1, [better], [worse])
    assert found.excludes_zero
    assert found.high - found.low < 0.05
    assert not difference(0.0, [worse], [worse]).excludes_zero
    single = interval(float(np.mean(better)), [better])
    assert single.high - single.low > 0.3


def test_what_is_not_known_has_no_bounds() -> None:
    for found in (interval(1.0, [[1.0]]), interval(1.0, [[1.0, math.nan]])):
        assert math.isnan(found.low)
        assert not found.excludes_zero
    assert Interval(-1.0, -2.0, -0.5).excludes_zero
    with pytest.raises(InputError, match="videos"):
        difference(0.0, [[1.0, 2.0]], [[1.0]])
