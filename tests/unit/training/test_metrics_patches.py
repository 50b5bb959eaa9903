"""Patches are seen; movement, pose and mild blur are not taken for them."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import maximum_filter, minimum_filter

from flashtalk.arrays import Frames
from flashtalk.errors import InputError
from tests.unit.training.damaged_clips import (
    FRAMES,
    PEOPLE,
    SIZE,
    blurred,
    cast,
    clip_of,
    ghost,
    noisy,
    spots,
    whole,
)
from training.evaluate.patches import patched_percent, reach_px, unexplained_levels
from training.evaluate.probes import Probes
from training.evaluate.quick import quick_patched
from training.evaluate.redrawn import EVERY_FRAMES, background_of, redraw, tracks_read
from training.evaluate.reference_clip import ReferenceClip


@pytest.fixture(scope="module")
def probes() -> Probes:
    return Probes.load()


@pytest.fixture(scope="module")
def clips() -> list[ReferenceClip]:
    return [clip_of(person, motion=k) for k, person in enumerate(PEOPLE)]


def patched(clips: list[ReferenceClip], probes: Probes, spoil: Callable[[Frames], Frames]) -> float:
    found = []
    for clip in clips:
        video = spoil(clip.frames_THWC)
        found.append(quick_patched(video, clip, probes.measure(video)))
    return float(np.mean(found))


def test_what_the_renderer_draws_is_explained(clips: list[ReferenceClip]) -> None:
    for clip in clips:
        assert not unexplained_levels(clip.frames_THWC, clip.frames_THWC).any()


@pytest.mark.parametrize("size", [(9, 14), (48, 48), (100, 64)])
def test_what_is_explained_is_the_span_of_the_square_around_a_pixel(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(8)
    video, drawn = rng.integers(0, 256, (2, 3, *size, 3)).astype(np.uint8)
    side = 2 * reach_px(size[0]) + 1
    lightest, darkest = (
        pick(drawn, (1, side, side, 1), mode="nearest").astype(np.float64)
        for pick in (maximum_filter, minimum_filter)
    )
    outside = np.maximum(video - lightest, 0) + np.maximum(darkest - video, 0)
    expected = np.sqrt((outside**2).mean(axis=-1))
    np.testing.assert_allclose(unexplained_levels(video, drawn), expected, rtol=1e-5)


def test_a_small_shift_is_explained_and_a_large_one_is_not(clips: list[ReferenceClip]) -> None:
    video = clips[0].frames_THWC[:4]
    reach = reach_px(SIZE[0])
    inside = (slice(None), slice(reach, -reach), slice(reach, -reach))
    for shift in range(1, reach + 1):
        moved = np.roll(video, (shift, -shift), axis=(1, 2))
        assert not unexplained_levels(moved, video)[inside].any()
    far = np.roll(video, 4 * reach, axis=2)
    assert unexplained_levels(far, video)[inside].mean() > 1


@pytest.mark.parametrize("damage", [spots, ghost, noisy, cast], ids=lambda f: f.__name__)
def test_more_damage_is_more_patched(
    damage: Callable[[float], Callable[[Frames], Frames]],
    clips: list[ReferenceClip],
    probes: Probes,
) -> None:
    strengths = {
        spots: (1, 3, 9),
        ghost: (0.15, 0.3, 0.45),
        noisy: (6, 12, 24),
        cast: (12, 24, 48),
    }[damage]
    found = [patched(clips, probes, whole)]
    found += [patched(clips, probes, damage(strength)) for strength in strengths]
    assert found == sorted(found)
    assert found[-1] > found[0] + 2


def test_blur_counts_less_than_spots_that_change_less(
    clips: list[ReferenceClip], probes: Probes
) -> None:
    soft = [patched(clips, probes, blurred(sigma)) for sigma in (1.0, 2.0, 4.0)]
    assert soft == sorted(soft)
    assert soft[0] < 1.0
    few = patched(clips, probes, spots(3))
    changed = {
        name: np.mean([(np.float32(spoil(c.frames_THWC)) - c.frames_THWC) ** 2 for c in clips])
        for name, spoil in (("blur", blurred(2.0)), ("spots", spots(3)))
    }
    assert few / changed["spots"] > 2 * soft[1] / changed["blur"]


def test_two_true_clips_of_a_person_are_alike(clips: list[ReferenceClip], probes: Probes) -> None:
    other = [clip_of(person, motion=50 + k) for k, person in enumerate(PEOPLE)]
    first, second = patched(clips, probes, whole), patched(other, probes, whole)
    assert max(first, second) < 1.0
    damaged = [patched(c, probes, spots(3)) for c in (clips, other)]
    assert min(damaged) > 3 * max(first, second)
    assert damaged[0] == pytest.approx(damaged[1], rel=0.4)


def test_which_frames_are_looked_at_hardly_matters(
    clips: list[ReferenceClip], probes: Probes
) -> None:
    video = spots(3)(clips[0].frames_THWC)
    means = []
    for first in range(EVERY_FRAMES):
        part = video[first:]
        means.append(quick_patched(part, clips[0], probes.measure(part)))
    assert np.ptp(means) < 0.1 * np.mean(means)


def test_every_frame_is_judged_by_itself(clips: list[ReferenceClip], probes: Probes) -> None:
    clip = clips[0]
    video = clip.frames_THWC.copy()
    video[:16] = spots(4)(clip.frames_THWC)[:16]
    tracks = tracks_read(clip, probes.measure(video))
    redrawn = redraw(video, clip, tracks, background_of(clip, tracks))
    assert redrawn is not None
    curve = patched_percent(redrawn)
    assert len(curve) == FRAMES // EVERY_FRAMES
    assert curve[:4].min() > curve[4:].max()


def test_what_cannot_be_measured_is_not_a_number(
    clips: list[ReferenceClip], probes: Probes
) -> None:
    clip = clips[0]
    undrawn = ReferenceClip(**{**vars(clip), "drawn_under": None})
    assert np.isnan(quick_patched(clip.frames_THWC, undrawn, probes.measure(clip.frames_THWC)))
    bodiless = ReferenceClip(
        **{**vars(clip), "background_HW": np.ones(SIZE, bool), "background_under": None}
    )
    assert np.isnan(quick_patched(clip.frames_THWC, bodiless, probes.measure(clip.frames_THWC)))
    with pytest.raises(InputError, match="drawing"):
        unexplained_levels(clip.frames_THWC, clip.frames_THWC[:3])
