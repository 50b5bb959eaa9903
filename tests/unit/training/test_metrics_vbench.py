"""Consistency, smoothness and flicker: the formulas, and what they tell apart on renders."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from flashtalk.errors import InputError
from training.data.synthtalk.identity import draw_identity
from training.data.synthtalk.renderer import render
from training.data.synthtalk.tracks import TRACK_COLUMNS, TRACK_INDEX
from training.evaluate.judges import Judges
from training.evaluate.probes import Measurement, Probes
from training.evaluate.vbench import (
    background_pixels,
    consistency,
    linear,
    motion_smoothness,
    temporal_flickering,
)

FRAMES = 60


def acting(frames: int = FRAMES) -> np.ndarray:
    tracks = np.zeros((frames, len(TRACK_COLUMNS)), np.float32)
    time = np.arange(frames) / 25
    tracks[:, TRACK_INDEX["head_scale"]] = 1.0
    tracks[:, TRACK_INDEX["head_x"]] = 0.04 * np.sin(2 * np.pi * 0.7 * time)
    tracks[:, TRACK_INDEX["openness"]] = 0.5 + 0.4 * np.sin(2 * np.pi * 2.5 * time)
    return tracks


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return render(draw_identity(11), acting(), (64, 64))


@pytest.fixture(scope="module")
def background() -> np.ndarray:
    mask = np.zeros((64, 64), bool)
    mask[2:40, :8] = mask[2:40, -8:] = True
    return mask


def darker(video: np.ndarray) -> np.ndarray:
    loss = np.linspace(0, 60, len(video))[:, None, None, None]
    return (video - loss).clip(0, 255).astype(np.uint8)


def blurred(video: np.ndarray) -> np.ndarray:
    return np.stack(
        [
            gaussian_filter(f, (s, s, 0))
            for f, s in zip(video, np.linspace(0, 3, len(video)), strict=True)
        ]
    )


def shuffled(video: np.ndarray) -> np.ndarray:
    return video[np.random.default_rng(0).permutation(len(video))]


def scores(video: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    measured: Measurement = Probes.load().measure(video)
    return Judges().scores(video, np.zeros(640 * len(video), np.float32), measured, mask)


def test_consistency_is_the_mean_of_two_cosines() -> None:
    a, b, c = np.array([1.0, 0.0]), np.array([0.6, 0.8]), np.array([-1.0, 0.0])
    # Second frame 0.6 and 0.6; third: -1 and -0.6, neither below 0.
    assert consistency(np.stack([a, b, c])) == pytest.approx((0.6 + 0.0) / 2)
    assert consistency(np.stack([a, 5 * a, a])) == pytest.approx(1.0)
    with pytest.raises(InputError, match="features"):
        consistency(a[None])


def test_flicker_and_smoothness_count_grey_levels() -> None:
    video = np.zeros((5, 4, 4, 3), np.uint8)
    video[1::2] = 51
    assert temporal_flickering(video) == pytest.approx(0.8)
    assert motion_smoothness(video, linear) == pytest.approx(0.8)
    ramp = np.arange(0, 50, 10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), int)
    assert motion_smoothness(ramp.astype(np.uint8), linear) == pytest.approx(1.0)
    for measure in (temporal_flickering, lambda v: motion_smoothness(v, linear)):
        with pytest.raises(InputError, match="video"):
            measure(video[:1])


def test_smoothness_compares_with_the_even_neighbours() -> None:
    asked: list[tuple[int, int]] = []

    def between(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        asked.append((int(before.flat[0]), int(after.flat[0])))
        return before

    video = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    assert motion_smoothness(video, between) == pytest.approx(254 / 255)
    assert asked == [(0, 2), (2, 4)]


def test_frozen_video_gets_the_best_of_all(truth: np.ndarray, background: np.ndarray) -> None:
    found = scores(truth[:1].repeat(FRAMES, 0), background)
    assert all(found[n] == pytest.approx(100) for n in ("id_c", "bg_pixel_c", "temporal_f"))


def test_order_and_flicker_are_seen(truth: np.ndarray, background: np.ndarray) -> None:
    best, mixed = scores(truth, background), scores(shuffled(truth), background)
    assert mixed["motion_linear"] < best["motion_linear"] - 0.5
    assert mixed["temporal_f"] < best["temporal_f"] - 0.5
    noisy = truth.astype(int) + np.random.default_rng(1).integers(-12, 13, truth.shape)
    grainy = scores(noisy.clip(0, 255).astype(np.uint8), background)
    assert grainy["temporal_f"] < best["temporal_f"] - 2
    assert grainy["bg_pixel_c"] < best["bg_pixel_c"] - 0.2


def test_drift_and_growing_blur_are_seen(truth: np.ndarray, background: np.ndarray) -> None:
    best = scores(truth, background)
    assert best["bg_pixel_c"] == pytest.approx(100, abs=1e-3)
    drifting, softening = scores(darker(truth), background), scores(blurred(truth), background)
    assert drifting["id_c"] < best["id_c"] - 1
    assert drifting["bg_pixel_c"] < best["bg_pixel_c"] - 5
    assert softening["id_c"] < best["id_c"] - 0.5
    assert softening["bg_pixel_c"] < best["bg_pixel_c"] - 0.05


def test_another_person_half_way_is_seen(truth: np.ndarray, background: np.ndarray) -> None:
    other = render(draw_identity(12), acting(), (64, 64))
    swapped = np.concatenate([truth[: FRAMES // 2], other[FRAMES // 2 :]])
    assert scores(swapped, background)["id_c"] < scores(truth, background)["id_c"] - 10


def test_background_features_ignore_the_common_colour() -> None:
    grey = np.full((2, 4, 4, 3), 200, np.uint8)
    grey[1] += 20
    grey[:, 0, 0] = 100
    with pytest.raises(InputError, match="background"):
        background_pixels(grey, np.zeros((4, 4), bool))
    features = background_pixels(grey, np.ones((4, 4), bool))
    assert consistency(features) < 0.9


def test_a_very_short_video_has_no_scores(background: np.ndarray) -> None:
    video = render(draw_identity(11), acting(2), (64, 64))
    assert scores(video, background) == {}
