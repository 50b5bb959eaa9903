"""Lip metrics tell a talking mouth from shuffled, late, frozen and open ones."""

import numpy as np
import pytest

from flashtalk.arrays import FloatArray
from flashtalk.errors import InputError
from training.evaluate.lips import closure, lag_profile, lip_corr, lip_lag, pearson, steady_silence


def speech_tracks(seed: int, videos: int = 4, frames: int = 200) -> list[FloatArray]:
    rng = np.random.default_rng(seed)
    kernel = np.array([0.25, 0.5, 0.25])
    return [
        np.asarray(np.convolve(rng.random(frames), kernel, mode="same"), np.float32)
        for _ in range(videos)
    ]


def test_truth_correlates_perfectly_and_is_on_time() -> None:
    truth = speech_tracks(0)
    assert lip_corr(truth, truth) == pytest.approx(1.0)
    assert lip_lag(truth, truth) == 0


def test_gain_and_offset_of_the_measurement_do_not_matter() -> None:
    truth = speech_tracks(1)
    assert lip_corr([0.4 * t + 0.1 for t in truth], truth) == pytest.approx(1.0, abs=1e-5)


def test_noise_lowers_correlation_by_the_expected_amount() -> None:
    truth = speech_tracks(2, videos=20)
    rng = np.random.default_rng(3)
    noisy = [t + rng.normal(0, t.std(), len(t)).astype(np.float32) for t in truth]
    assert lip_corr(noisy, truth) == pytest.approx(0.5**0.5, abs=0.03)


def test_shuffled_audio_and_frozen_mouth_explain_nothing() -> None:
    truth = speech_tracks(4, videos=8)
    assert abs(lip_corr([*truth[1:], truth[0]], truth)) < 0.1
    assert lip_corr([np.full_like(t, 0.3) for t in truth], truth) == 0.0


@pytest.mark.parametrize("late", [-4, -1, 0, 1, 3, 5])
def test_lag_is_found_with_its_sign(late: int) -> None:
    truth = speech_tracks(5)
    measured = [np.roll(t, late) for t in truth]
    assert lip_lag(measured, truth) == late
    profile = lag_profile(measured, truth)
    assert sorted(profile) == list(range(-5, 6))
    assert profile[late] > 0.95 > profile[-late if late else 2]


def test_unequal_lengths_are_named() -> None:
    with pytest.raises(InputError, match="track"):
        lip_corr([np.zeros(9, np.float32)], [np.zeros(10, np.float32)])
    with pytest.raises(InputError, match="measured"):
        lip_corr([], [np.zeros(10, np.float32)])
    with pytest.raises(InputError, match="track"):
        pearson(np.zeros(3), np.zeros(4))


def test_videos_shorter_than_the_lags_count_for_nothing() -> None:
    assert lip_lag([np.zeros(6, np.float32)], [np.zeros(6, np.float32)]) == 0


def test_steady_silence_keeps_the_inside_of_long_silences_only() -> None:
    silent = np.zeros(60, bool)
    silent[5:12] = True  # 7 frames: too short
    silent[20:40] = True
    kept = np.flatnonzero(steady_silence(silent))
    assert kept.tolist() == list(range(23, 38))


def test_silence_at_either_end_of_the_video_counts() -> None:
    silent = np.zeros(40, bool)
    silent[:10] = silent[30:] = True
    kept = np.flatnonzero(steady_silence(silent)).tolist()
    assert kept == [*range(3, 8), *range(33, 38)]


def test_closure_separates_closed_lips_from_babble() -> None:
    silent = np.zeros(100, bool)
    silent[40:70] = True
    speaking = np.where(silent, 0.02, 0.6).astype(np.float32)
    good = closure([speaking], [silent])
    assert good.closed_fraction == 1.0
    assert good.mean_openness == pytest.approx(0.02, abs=1e-6)
    bad = closure([np.full(100, 0.6, np.float32)], [silent])
    assert bad.closed_fraction == 0.0
    assert bad.frames == good.frames == 25


def test_closure_without_silence_is_not_a_number() -> None:
    none = closure([np.zeros(50, np.float32)], [np.zeros(50, bool)])
    assert none.frames == 0
    assert np.isnan(none.mean_openness)
