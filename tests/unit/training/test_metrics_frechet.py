"""The Fréchet distance of pictures: exact for normal numbers, blind to movement, not to damage."""

from collections.abc import Callable

import numpy as np
import pytest

from flashtalk.arrays import Frames
from tests.unit.training.damaged_clips import cast, clip_of, ghost, noisy, spots, whole
from training.evaluate.bootstrap import debiased
from training.evaluate.frechet import (
    FeatureMoments,
    Looks,
    frechet_distance,
    looks_of,
    picture_distance,
)
from training.evaluate.probes import Probes
from training.evaluate.redrawn import background_of, redraw, tracks_read
from training.evaluate.reference_clip import ReferenceClip

PEOPLE = range(902_001, 902_005)


@pytest.fixture(scope="module")
def probes() -> Probes:
    return Probes.load()


@pytest.fixture(scope="module")
def clips() -> list[ReferenceClip]:
    return [clip_of(person, motion=k) for k, person in enumerate(PEOPLE)]


def looks(
    clips: list[ReferenceClip], probes: Probes, spoil: Callable[[Frames], Frames]
) -> list[Looks]:
    found = []
    for clip in clips:
        video = spoil(clip.frames_THWC)
        tracks = tracks_read(clip, probes.measure(video))
        found.append(looks_of(redraw(video, clip, tracks, background_of(clip, tracks)), probes))
    return found


def distance(made: list[Looks], truth: list[Looks]) -> float:
    return debiased(
        lambda chosen: picture_distance([made[k] for k in chosen], [truth[k] for k in chosen]),
        len(made),
    )


def test_distance_of_normal_numbers_is_the_known_one() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(4000, 5))
    numbers = (numbers - numbers.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(numbers.T)).T)
    shift, scale = rng.normal(size=5), np.array([0.5, 1.0, 2.0, 3.0, 1.0])
    one, other = FeatureMoments.of(numbers), FeatureMoments.of(numbers * scale + shift)
    expected = (shift**2).sum() + ((scale - 1) ** 2).sum()
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-2)
    assert frechet_distance(other, one) == pytest.approx(frechet_distance(one, other), rel=1e-6)
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-9)


def test_moments_of_parts_add_up_and_forget_the_order() -> None:
    numbers = np.random.default_rng(1).normal(size=(90, 4))
    whole_sum, parts = (
        FeatureMoments.of(numbers),
        FeatureMoments.of(numbers[:30]) + FeatureMoments.of(numbers[30:]),
    )
    np.testing.assert_allclose(parts.covariance_DD, whole_sum.covariance_DD, atol=1e-12)
    shuffled = FeatureMoments.of(np.random.default_rng(2).permutation(numbers))
    assert frechet_distance(shuffled, whole_sum) == pytest.approx(0.0, abs=1e-9)


def test_singular_covariances_have_a_distance() -> None:
    few = FeatureMoments.of(np.random.default_rng(3).normal(size=(3, 40)))
    same = FeatureMoments.of(np.ones((5, 40)))
    assert frechet_distance(few, same) > 0
    assert frechet_distance(same, same) == pytest.approx(0.0, abs=1e-9)


def test_the_jackknife_takes_most_of_the_bias_of_few_videos() -> None:
    rng = np.random.default_rng(4)
    plain, better = [], []
    for _ in range(20):
        videos = [
            Looks(*(rng.normal(size=(30, 6)).astype(np.float32) for _ in range(2)))
            for _ in range(10)
        ]
        plain.append(picture_distance(videos, videos))
        better.append(distance(videos, videos))
    # Both sides have the same distribution: the distance is 0.
    assert np.mean(plain) > 0.01
    assert abs(np.mean(better)) < 0.5 * np.mean(plain)


@pytest.mark.parametrize(
    ("damage", "strengths"),
    [(spots, (1, 3, 9)), (ghost, (0.15, 0.3, 0.45)), (noisy, (12, 36)), (cast, (12, 24, 48))],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_more_damage_is_further_away(
    damage: Callable[[float], Callable[[Frames], Frames]],
    strengths: tuple[float, ...],
    clips: list[ReferenceClip],
    probes: Probes,
) -> None:
    truth = looks(clips, probes, whole)
    found = [distance(truth, truth)]
    found += [distance(looks(clips, probes, damage(strength)), truth) for strength in strengths]
    assert found == sorted(found)
    assert found[-1] > 5 * max(found[0], 0.02)


def test_other_movement_of_the_same_people_is_near(
    clips: list[ReferenceClip], probes: Probes
) -> None:
    truth = looks(clips, probes, whole)
    others = [clip_of(person, motion=70 + k) for k, person in enumerate(PEOPLE)]
    moved = distance(looks(others, probes, whole), truth)
    # Against the true clips themselves other movement would be as far away as damage.
    itself = [
        Looks(a.frames_TD, b.frames_TD)
        for a, b in zip(looks(others, probes, whole), truth, strict=True)
    ]
    assert moved < 0.25 * distance(itself, truth)
    assert moved < 0.5 * distance(looks(clips, probes, spots(3)), truth)


def test_what_was_not_drawn_has_no_distance(clips: list[ReferenceClip], probes: Probes) -> None:
    truth = looks(clips[:1], probes, whole)
    assert np.isnan(picture_distance([looks_of(None, probes)], truth))
    assert np.isnan(picture_distance([], truth))
    frozen = [Looks(one.frames_TD[:1], one.drawn_TD[:1]) for one in truth]
    assert np.isnan(picture_distance(frozen, frozen))
