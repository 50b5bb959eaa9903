"""Patches are seen; movement, pose and mild blur are not taken for them."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from flashtalk.errors import InputError
from training.data.synthtalk.identity import draw_identity
from training.data.synthtalk.regions import background_mask
from training.data.synthtalk.renderer import render
from training.data.synthtalk.tracks import TRACK_COLUMNS, TRACK_INDEX
from training.evaluate.clip import Clip
from training.evaluate.fidelity import Video
from training.evaluate.patches import patched_percent, reach_px, unexplained_levels
from training.evaluate.probe_data import draw_tracks
from training.evaluate.probes import Probes
from training.evaluate.quick import quick_patched
from training.evaluate.redrawn import EVERY_FRAMES, background_of, redraw, tracks_read

SIZE = (96, 96)
FRAMES = 32
PEOPLE = (901_001, 901_002)


def moving_tracks(seed: int) -> np.ndarray:
    """Smooth movement between unrelated poses, as far as people in SynthTalk go."""
    rng = np.random.default_rng(seed)
    rest = np.zeros(len(TRACK_COLUMNS), np.float32)
    rest[TRACK_INDEX["head_scale"]], rest[TRACK_INDEX["width"]] = 1.0, 0.5
    poses = rest + 0.4 * (draw_tracks(rng, 4) - rest)
    poses[:, [TRACK_INDEX["gaze_x"], TRACK_INDEX["gaze_y"]]] = 0.0
    at = np.linspace(0, len(poses) - 1, FRAMES)
    columns = [np.interp(at, np.arange(len(poses)), column) for column in poses.T]
    return np.stack(columns, axis=1).astype(np.float32)


def clip_of(person: int, *, motion: int) -> Clip:
    identity, tracks = draw_identity(person), moving_tracks(motion)

    def background_under(tracks_TK: np.ndarray) -> np.ndarray:
        return background_mask(tracks_TK, identity, SIZE)

    return Clip(
        name=str(person), pcm_N=np.zeros(640 * FRAMES, np.float32),
        frames_THWC=render(identity, tracks, SIZE), tracks_TK=tracks, track_names=TRACK_COLUMNS,
        silent_T=np.zeros(FRAMES, bool), mouth_THW=np.zeros((FRAMES, *SIZE), bool),
        background_HW=background_under(tracks), background_under=background_under,
        drawn_under=lambda tracks_TK: render(identity, tracks_TK, SIZE),
    )  # fmt: skip


@pytest.fixture(scope="module")
def probes() -> Probes:
    return Probes.load()


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [clip_of(person, motion=k) for k, person in enumerate(PEOPLE)]


def patched(clips: list[Clip], probes: Probes, spoil: Callable[[Video], Video]) -> float:
    found = []
    for clip in clips:
        video = spoil(clip.frames_THWC)
        found.append(quick_patched(video, clip, probes.measure(video)))
    return float(np.mean(found))


def spots(count: int, *, side: int = 8) -> Callable[[Video], Video]:
    """That many squares of other parts of the frame, where hair, face and hands are."""

    def spoil(video: Video) -> Video:
        rng = np.random.default_rng(5)
        spoilt = video.copy()
        for _ in range(count):
            (to_y, from_y), (to_x, from_x) = rng.integers(12, 84, 2), rng.integers(22, 66, 2)
            spoilt[:, to_y : to_y + side, to_x : to_x + side] = video[
                :, from_y : from_y + side, from_x : from_x + side
            ]
        return spoilt

    return spoil


def noisy(levels: float) -> Callable[[Video], Video]:
    def spoil(video: Video) -> Video:
        noise = np.random.default_rng(6).normal(0, levels, video.shape)
        return (video + noise).clip(0, 255).astype(np.uint8)

    return spoil


def cast(levels: float) -> Callable[[Video], Video]:
    return lambda video: (video - levels * np.array([1.0, 0, 0])).clip(0, 255).astype(np.uint8)


def ghost(share: float) -> Callable[[Video], Video]:
    """The whole person once more, a fifth of the frame to the side, as a double exposure."""

    def spoil(video: Video) -> Video:
        twice = (1 - share) * video + share * np.roll(video, 18, axis=2)
        return twice.astype(np.uint8)

    return spoil


def blurred(sigma: float) -> Callable[[Video], Video]:
    return lambda video: gaussian_filter(video.astype(np.float32), (0, sigma, sigma, 0)).astype(
        np.uint8
    )


def whole(video: Video) -> Video:
    return video


def test_what_the_renderer_draws_is_explained(clips: list[Clip]) -> None:
    for clip in clips:
        assert not unexplained_levels(clip.frames_THWC, clip.frames_THWC).any()


def test_a_small_shift_is_explained_and_a_large_one_is_not(clips: list[Clip]) -> None:
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
    damage: Callable[[float], Callable[[Video], Video]], clips: list[Clip], probes: Probes
) -> None:
    strengths = {spots: (1, 3, 9), ghost: (0.15, 0.3, 0.45), noisy: (6, 12, 24),
                 cast: (12, 24, 48)}[damage]  # fmt: skip
    found = [patched(clips, probes, whole)]
    found += [patched(clips, probes, damage(strength)) for strength in strengths]
    assert found == sorted(found)
    assert found[-1] > found[0] + 2


def test_blur_counts_less_than_spots_that_change_less(clips: list[Clip], probes: Probes) -> None:
    soft = [patched(clips, probes, blurred(sigma)) for sigma in (1.0, 2.0, 4.0)]
    assert soft == sorted(soft)
    assert soft[0] < 1.0
    few = patched(clips, probes, spots(3))
    changed = {
        name: np.mean([(np.float32(spoil(c.frames_THWC)) - c.frames_THWC) ** 2 for c in clips])
        for name, spoil in (("blur", blurred(2.0)), ("spots", spots(3)))
    }
    assert few / changed["spots"] > 2 * soft[1] / changed["blur"]


def test_two_true_clips_of_a_person_are_alike(clips: list[Clip], probes: Probes) -> None:
    other = [clip_of(person, motion=50 + k) for k, person in enumerate(PEOPLE)]
    first, second = patched(clips, probes, whole), patched(other, probes, whole)
    assert max(first, second) < 1.0
    damaged = [patched(c, probes, spots(3)) for c in (clips, other)]
    assert min(damaged) > 3 * max(first, second)
    assert damaged[0] == pytest.approx(damaged[1], rel=0.4)


def test_which_frames_are_looked_at_hardly_matters(clips: list[Clip], probes: Probes) -> None:
    video = spots(3)(clips[0].frames_THWC)
    means = []
    for first in range(EVERY_FRAMES):
        part = video[first:]
        means.append(quick_patched(part, clips[0], probes.measure(part)))
    assert np.ptp(means) < 0.1 * np.mean(means)


def test_every_frame_is_judged_by_itself(clips: list[Clip], probes: Probes) -> None:
    clip = clips[0]
    video = clip.frames_THWC.copy()
    video[:16] = spots(4)(clip.frames_THWC)[:16]
    tracks = tracks_read(clip, probes.measure(video))
    redrawn = redraw(video, clip, tracks, background_of(clip, tracks))
    assert redrawn is not None
    curve = patched_percent(redrawn)
    assert len(curve) == FRAMES // EVERY_FRAMES
    assert curve[:4].min() > curve[4:].max()


def test_what_cannot_be_measured_is_not_a_number(clips: list[Clip], probes: Probes) -> None:
    clip = clips[0]
    undrawn = Clip(**{**vars(clip), "drawn_under": None})
    assert np.isnan(quick_patched(clip.frames_THWC, undrawn, probes.measure(clip.frames_THWC)))
    bodiless = Clip(**{**vars(clip), "background_HW": np.ones(SIZE, bool),
                       "background_under": None})  # fmt: skip
    assert np.isnan(quick_patched(clip.frames_THWC, bodiless, probes.measure(clip.frames_THWC)))
    with pytest.raises(InputError, match="drawing"):
        unexplained_levels(clip.frames_THWC, clip.frames_THWC[:3])
