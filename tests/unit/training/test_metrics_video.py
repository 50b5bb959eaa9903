"""Fidelity and dynamics metrics tell truth from blurred, drifted, frozen and jumping video."""

import numpy as np
import pytest
from PIL import Image, ImageCms
from scipy.ndimage import gaussian_filter

from flashtalk.errors import InputError
from training.evaluate.dynamics import (
    drift_per_chunk,
    dynamic_ratio,
    identity_distance,
    per_chunk,
)
from training.evaluate.fidelity import (
    PSNR_CAP_DB,
    border_ratio,
    colour_error,
    frame_change,
    lab,
    psnr_db,
    psnr_per_frame_db,
    sharpness,
)

CHUNK = 28


def moving_disc(frames: int = 4 * CHUNK, size: int = 32, seed: int = 0) -> np.ndarray:
    """A bright disc that wanders smoothly over a fixed texture: uint8 [T, size, size, 3]."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(40, 90, (size, size, 3))
    y, x = np.mgrid[:size, :size]
    t = np.arange(frames)[:, None, None] + 37 * seed
    centre_x, centre_y = 16 + 6 * np.sin(t / 9), 16 + 5 * np.cos(t / 7)
    weight = np.clip(6 - np.hypot(x - centre_x, y - centre_y), 0, 1)[..., None]
    return np.asarray(texture * (1 - weight) + 220 * weight, np.uint8)


def blurred(video: np.ndarray, sigma: float = 1.5) -> np.ndarray:
    return np.asarray(gaussian_filter(video.astype(np.float32), (0, sigma, sigma, 0)), np.uint8)


def test_psnr_of_a_known_error() -> None:
    video = np.full((3, 8, 8, 3), 100, np.uint8)
    assert psnr_db(video, video) == PSNR_CAP_DB
    assert psnr_db(video + np.uint8(10), video) == pytest.approx(28.13, abs=0.01)


def test_psnr_sees_only_the_mask() -> None:
    video = moving_disc(8)
    broken = video.copy()
    broken[:, :4] = 0
    mask = np.ones((32, 32), bool)
    mask[:4] = False
    assert psnr_db(broken, video) < 25
    assert psnr_db(broken, video, mask) == PSNR_CAP_DB
    assert psnr_db(broken, video, np.broadcast_to(~mask, (8, 32, 32))) < 20
    assert np.isnan(psnr_db(video, video, np.zeros((32, 32), bool)))


def test_psnr_per_frame_finds_where_a_still_background_drifts() -> None:
    video = np.repeat(moving_disc(1), 20, axis=0)
    drifted = (video + np.arange(20, dtype=np.uint8)[:, None, None, None]).astype(np.uint8)
    curve = psnr_per_frame_db(drifted, video[0], np.ones((32, 32), bool))
    assert curve[0] == PSNR_CAP_DB
    assert (np.diff(curve) < 0).all()


def test_shapes_must_agree() -> None:
    with pytest.raises(InputError, match="video"):
        psnr_db(np.zeros((2, 8, 8, 3), np.uint8), np.zeros((3, 8, 8, 3), np.uint8))


def test_blur_lowers_sharpness() -> None:
    video = moving_disc(8)
    assert sharpness(blurred(video)).mean() < 0.6 * sharpness(video).mean()


def test_lab_agrees_with_an_independent_implementation() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    converted = ImageCms.applyTransform(Image.fromarray(rgb), to_lab)
    assert converted is not None
    theirs = np.asarray(converted)
    # 8-bit LAB stores L as 0..255 and a, b as signed bytes; the profile's white is D50.
    ours = lab(rgb)
    assert np.abs(ours[..., 0] - theirs[..., 0] * (100 / 255)).max() < 4
    grey = lab(np.full((1, 3), 128, np.uint8))[0]
    np.testing.assert_allclose(grey, [53.59, 0, 0], atol=0.05)


def test_colour_error_sees_a_cast_but_not_movement_or_blur() -> None:
    video = moving_disc(12)
    still = colour_error(video, video[0])
    cast = video.copy()
    cast[..., 0] += 20
    assert still.max() < 0.5
    assert colour_error(blurred(video), video[0]).max() < 1.0
    assert colour_error(cast, video[0]).min() > 5


def test_colour_error_can_be_restricted_to_the_background() -> None:
    video = np.full((4, 8, 8, 3), 90, np.uint8)
    video[:, 4:, :, 0] = 200
    mask = np.zeros((8, 8), bool)
    mask[:4] = True
    reference = np.full((8, 8, 3), 90, np.uint8)
    assert colour_error(video, reference, mask).max() < 1e-3
    assert colour_error(video, reference).min() > 10


def test_border_ratio_is_one_for_smooth_video_and_grows_with_jumps() -> None:
    videos = [moving_disc(seed=seed) for seed in range(10)]
    smooth = border_ratio(map(frame_change, videos), chunk_frames=CHUNK)
    assert smooth == pytest.approx(1.0, abs=0.25)
    for video in videos:
        video[CHUNK : 2 * CHUNK] += 15
    assert border_ratio(map(frame_change, videos), chunk_frames=CHUNK) > 3


def test_border_ratio_places_borders_before_each_new_chunk() -> None:
    video = np.zeros((3 * CHUNK, 4, 4, 3), np.uint8)
    video[::2] = 10  # every step is 10 ...
    video[CHUNK:] += 50  # ... but this border is +40 or +60
    change = frame_change(video)
    assert change[CHUNK - 1] != 10
    assert np.delete(change, CHUNK - 1).tolist() == [10.0] * (len(change) - 1)
    assert border_ratio([change], chunk_frames=CHUNK) > 2


def test_border_ratio_needs_borders_and_movement() -> None:
    assert np.isnan(border_ratio([np.zeros(3 * CHUNK)], chunk_frames=CHUNK))
    assert np.isnan(border_ratio([frame_change(moving_disc(CHUNK))], chunk_frames=CHUNK))


def test_dynamic_ratio_of_truth_frozen_and_half_amplitude() -> None:
    rng = np.random.default_rng(0)
    truth = [rng.normal(size=(200, 3)) for _ in range(4)]
    assert dynamic_ratio(truth, truth) == pytest.approx(1.0)
    assert dynamic_ratio([0 * t for t in truth], truth) == 0.0
    assert dynamic_ratio([0.5 * t for t in truth], truth) == pytest.approx(0.25)


def test_dynamic_ratio_is_not_fooled_by_different_people() -> None:
    rng = np.random.default_rng(1)
    truth = [rng.normal(size=200) for _ in range(4)]
    frozen_strangers = [np.full(200, float(k)) for k in range(4)]
    assert dynamic_ratio(frozen_strangers, truth) == 0.0


def test_dynamic_ratio_weighs_every_parameter_alike() -> None:
    rng = np.random.default_rng(2)
    truth = [rng.normal(size=(300, 2)) * [1.0, 100.0]]
    half_dead = [truth[0] * [0.0, 1.0]]
    assert dynamic_ratio(half_dead, truth) == pytest.approx(0.5)
    with pytest.raises(InputError, match="generated"):
        dynamic_ratio([truth[0][:, :1]], truth)
    with pytest.raises(InputError, match="tracks"):
        dynamic_ratio([], truth)


def test_identity_distance_separates_same_from_stranger() -> None:
    rng = np.random.default_rng(3)
    me, stranger = rng.normal(size=(2, 64))
    same = identity_distance(me + rng.normal(0, 0.1, (50, 64)), me)
    other = identity_distance(np.repeat(stranger[None], 50, 0), me)
    assert same.max() < 0.2
    assert other.min() > 1.0


def test_drift_slope_is_per_chunk_and_ignores_the_start() -> None:
    steady = np.full(10 * CHUNK, 30.0)
    steady[: 2 * CHUNK] = 40.0  # the portrait's own quality, left in the first chunks
    assert drift_per_chunk(steady, chunk_frames=CHUNK) == pytest.approx(0.0, abs=1e-9)
    falling = 40.0 - np.arange(10 * CHUNK) / CHUNK
    assert drift_per_chunk(falling, chunk_frames=CHUNK) == pytest.approx(-1.0)
    assert np.isnan(drift_per_chunk(falling[: 4 * CHUNK], chunk_frames=CHUNK))


def test_per_chunk_drops_a_short_rest() -> None:
    assert per_chunk(np.ones(2 * CHUNK + 10), chunk_frames=CHUNK).tolist() == [1.0, 1.0]
    assert len(per_chunk(np.ones(2 * CHUNK + 20), chunk_frames=CHUNK)) == 3
