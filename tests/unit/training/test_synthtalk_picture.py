"""The renderer: same pixels however it is asked, and every track visible where it should be."""

import numpy as np
import pytest
import torch

from flashtalk.arrays import FloatArray
from flashtalk.errors import InputError
from training.data.synthtalk import (
    IDENTITY_COLUMNS,
    TRACK_COLUMNS,
    background_mask,
    draw_identity,
    mouth_box,
    render,
)
from training.data.synthtalk.geometry import Layout
from training.data.synthtalk.motion import motion_tracks, wander
from training.data.synthtalk.person import Person
from training.data.synthtalk.renderer import render_block
from training.data.synthtalk.scenery import render_scenery
from training.data.synthtalk.tracks import TRACK_INDEX

SIZES = [(64, 64), (96, 96), (48, 80), (80, 48), (96, 160)]


def still(frames: int, **columns: float) -> FloatArray:
    tracks = np.zeros((frames, len(TRACK_COLUMNS)), dtype=np.float32)
    tracks[:, TRACK_INDEX["width"]] = 0.5
    tracks[:, TRACK_INDEX["head_scale"]] = 1.0
    for name, value in columns.items():
        tracks[:, TRACK_INDEX[name]] = value
    return tracks


def moving(frames: int, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    mouth = rng.uniform(0, 1, (frames, 5)).astype(np.float32)
    pcm = (0.2 * rng.normal(size=frames * 640)).astype(np.float32)
    return motion_tracks(rng, pcm, mouth)


@pytest.mark.parametrize("size_hw", SIZES)
def test_frames_do_not_depend_on_their_neighbours(size_hw: tuple[int, int]) -> None:
    tracks, identity = moving(20), draw_identity(3)
    whole = render(identity, tracks, size_hw)
    parts = np.concatenate([render(identity, tracks[i : i + 7], size_hw) for i in (0, 7, 14)])
    assert whole.shape == (20, *size_hw, 3)
    assert whole.dtype == np.uint8
    # Vectorised exp and sin round differently at the end of a row: one level at most.
    assert np.abs(whole.astype(int) - parts).max() <= 1


@pytest.mark.parametrize("size_hw", SIZES)
@pytest.mark.parametrize("seed", [1, 2, 5])
def test_opening_changes_the_mouth_box_and_hardly_anything_else(
    size_hw: tuple[int, int], seed: int
) -> None:
    identity = draw_identity(seed)
    tracks = np.concatenate([still(1), still(1, openness=1.0, teeth=0.3)])
    shut, wide = render(identity, tracks, size_hw).astype(int)
    top, left, bottom, right = mouth_box(tracks, identity, size_hw)[1]
    change = np.abs(wide - shut).max(axis=-1)
    inside = change[top:bottom, left:right]
    assert inside.max() > 60
    assert (inside > 25).mean() > 0.15
    change[top:bottom, left:right] = 0
    # Only the chin moves along.
    assert (change > 25).mean() < 0.02


@pytest.mark.parametrize("size_hw", SIZES)
def test_dark_mouth_area_grows_with_openness(size_hw: tuple[int, int]) -> None:
    identity = draw_identity(2)
    tracks = still(6)
    tracks[:, TRACK_INDEX["openness"]] = np.linspace(0.0, 1.0, 6)
    frames = render(identity, tracks, size_hw).astype(int)
    boxes = mouth_box(tracks, identity, size_hw)
    dark = [
        int((frame[top:bottom, left:right].sum(-1) < 130).sum())
        for frame, (top, left, bottom, right) in zip(frames, boxes, strict=True)
    ]
    assert dark == sorted(dark)
    assert dark[-1] > dark[0] + 0.2 * (boxes[-1, 2] - boxes[-1, 0])


def test_mouth_is_about_a_quarter_of_the_frame_wide_and_opens_eight_pixels() -> None:
    tracks = np.concatenate([still(1), still(1, openness=1.0)])
    boxes = mouth_box(tracks, draw_identity(0), (64, 64))
    assert 0.22 <= (boxes[0, 3] - boxes[0, 1]) / 64 <= 0.32
    grown = (boxes[1, 2] - boxes[1, 0]) - (boxes[0, 2] - boxes[0, 0])
    assert 7 <= grown <= 10


def test_mouth_box_follows_the_head_and_stays_inside() -> None:
    identity = draw_identity(4)
    rest = mouth_box(still(1), identity, (64, 64))[0]
    right = mouth_box(still(1, head_x=0.05), identity, (64, 64))[0]
    assert right[1] > rest[1]
    boxes = mouth_box(moving(50), identity, (48, 80))
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= np.array([48, 80])).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


@pytest.mark.parametrize("size_hw", [(64, 64), (80, 48)])
def test_background_never_changes_and_is_a_fair_share(size_hw: tuple[int, int]) -> None:
    identity, tracks = draw_identity(6), moving(40)
    mask = background_mask(tracks, identity, size_hw)
    frames = render(identity, tracks, size_hw)
    assert 0.15 < mask.mean() < 0.7
    assert (frames[:, mask] == frames[0, mask]).all()
    moved = (frames.max(axis=0) > frames.min(axis=0)).any(axis=-1)
    assert (moved & ~mask).mean() > 0.2


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("blink", 1.0),
        ("brow", 1.0),
        ("gaze_x", 1.0),
        ("head_roll", 0.1),
        ("head_y", 0.02),
        ("head_scale", 1.04),
        ("teeth", 1.0),
        ("tongue", 1.0),
        ("rounding", 1.0),
        ("width", 1.0),
        ("hand_l_y", -0.1),
        ("hand_r_x", 0.03),
        ("hand_l_angle", 0.4),
    ],
)
def test_every_track_moves_pixels(column: str, value: float) -> None:
    identity = draw_identity(1)
    base = {"openness": 0.6}
    before = render(identity, still(1, **base), (64, 64)).astype(int)
    after = render(identity, still(1, **{**base, column: value}), (64, 64)).astype(int)
    assert (np.abs(after - before).max(axis=-1) > 15).sum() >= 3


def test_painting_stays_on_its_device_and_never_reads_pixels_back() -> None:
    # The meta device has shapes but no values, and refuses to mix with another device.
    layout, meta = Layout(64, 64), torch.device("meta")
    person = Person(draw_identity(1), meta)
    image = render_block(person, moving(3), render_scenery(person.identity, layout, meta), layout)
    assert image.device == meta
    assert image.shape == (3, 3, 64, 64)


def test_identities_differ_and_repeat() -> None:
    people = np.stack([draw_identity(seed) for seed in range(50)])
    assert people.shape == (50, len(IDENTITY_COLUMNS))
    assert people.dtype == np.float32
    np.testing.assert_array_equal(people[7], draw_identity(7))
    distance = np.abs(people[:, None] - people[None]).sum(-1) + 9 * np.eye(50)
    assert distance.min() > 1.0
    assert people.min() >= 0.0
    assert people.max() <= 1.02


def test_wandering_has_the_deviation_and_the_time_constant_asked_for() -> None:
    path = wander(np.random.default_rng(0), 40_000, 0.02, 1.0)
    assert abs(path.std() / 0.02 - 1.0) < 0.15
    lag = int(0.8 * 25)
    correlation = np.corrcoef(path[:-lag], path[lag:])[0, 1]
    assert 0.25 < correlation < 0.5


@pytest.mark.parametrize(
    ("identity", "tracks", "size_hw", "field"),
    [
        (np.zeros(3, np.float32), still(1), (64, 64), "identity"),
        (draw_identity(0), np.zeros((4, 3), np.float32), (64, 64), "tracks"),
        (draw_identity(0), still(1), (8, 64), "size_hw"),
    ],
)
def test_bad_input_is_named(
    identity: FloatArray, tracks: FloatArray, size_hw: tuple[int, int], field: str
) -> None:
    with pytest.raises(InputError) as caught:
        render(identity, tracks, size_hw)
    assert caught.value.field == field
