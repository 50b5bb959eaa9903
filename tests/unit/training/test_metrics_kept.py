"""Readings are kept whole, found again, and made again when stale or damaged."""

import dataclasses
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from tests.patience import patient
from tests.unit.training.damaged_clips import clip_of, spots
from training.evaluate.digests import digest_of, digest_of_arrays, digest_of_network
from training.evaluate.kept_readings import Kept, KeptReadings
from training.evaluate.probes import Probes
from training.evaluate.reading import Reading, read_video
from training.evaluate.reading_files import pack_reading, unpack_reading
from training.evaluate.reference_clip import ReferenceClip


@pytest.fixture(scope="module")
def clip() -> ReferenceClip:
    return clip_of(903_001, motion=4)


@pytest.fixture(scope="module")
def reading(clip: ReferenceClip) -> Reading:
    return read_video(spots(2)(clip.frames_THWC), clip, Probes.load())


class Maker:
    """Makes the same entry and counts how often."""

    def __init__(self, reading: Reading, clip: ReferenceClip) -> None:
        self.kept = Kept(reading, {3: clip.frames_THWC[3], 11: clip.frames_THWC[11]})
        self.made = 0

    def __call__(self) -> Kept:
        self.made += 1
        return self.kept


@pytest.fixture
def maker(reading: Reading, clip: ReferenceClip) -> Maker:
    return Maker(reading, clip)


def same(a: Reading, b: Reading) -> bool:
    one, other = pack_reading(a), pack_reading(b)
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and one[name].tobytes() == other[name].tobytes()
        for name in one
    )


def test_a_reading_survives_its_file(reading: Reading) -> None:
    back = unpack_reading(pack_reading(reading))
    assert same(back, reading)
    for one in dataclasses.fields(Reading):
        value = getattr(reading, one.name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(back, one.name), value)
    assert set(back.measured.tracks) == set(reading.measured.tracks)
    assert np.isnan(back.wall_s)


def test_an_entry_is_made_once(maker: Maker, tmp_path: Path) -> None:
    readings = KeptReadings(tmp_path / "new", {"probes": 1})
    first = readings.get({"clip": "a"}, maker)
    again = KeptReadings(tmp_path / "new", {"probes": 1}).get({"clip": "a"}, maker)
    assert maker.made == 1
    assert same(first.reading, again.reading)
    assert list(again.shown) == [3, 11]
    np.testing.assert_array_equal(again.shown[11], maker.kept.shown[11])


def test_whatever_it_depends_on_makes_another_entry(maker: Maker, tmp_path: Path) -> None:
    known = [
        ({"probes": 1}, {"clip": "a"}),
        ({"probes": 2}, {"clip": "a"}),
        ({"probes": 1}, {"clip": "b"}),
    ]
    for facts, clip in known + known:
        KeptReadings(tmp_path, facts).get(clip, maker)
    assert maker.made == len(known)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    stored = bytearray(path.read_bytes())
    stored[len(stored) // 3] ^= 0xFF
    path.write_bytes(stored)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, something=np.zeros(3))


@pytest.mark.parametrize("damage", [cut, flipped, emptied, foreign])
def test_a_damaged_entry_is_made_again(
    damage: Callable[[Path], None], maker: Maker, tmp_path: Path
) -> None:
    readings = KeptReadings(tmp_path)
    readings.get({}, maker)
    (entry,) = tmp_path.glob("*.npz")
    damage(entry)
    assert same(readings.get({}, maker).reading, maker.kept.reading)
    assert maker.made == 2
    readings.get({}, maker)
    assert maker.made == 2


def test_the_folder_is_bounded_and_loses_what_was_not_used(maker: Maker, tmp_path: Path) -> None:
    unbounded = KeptReadings(tmp_path)
    unbounded.get({"clip": 0}, maker)
    (entry,) = tmp_path.glob("*.npz")
    size = entry.stat().st_size
    bounded = KeptReadings(tmp_path, most_bytes=3 * size + size // 2)
    for number in (1, 2):
        bounded.get({"clip": number}, maker)
    for age, path in enumerate(sorted(tmp_path.glob("*.npz"))):
        os.utime(path, ns=(age, age))
    bounded.get({"clip": 0}, maker)  # used again: the last that may go
    bounded.get({"clip": 3}, maker)
    assert maker.made == 4
    assert sum(path.stat().st_size for path in tmp_path.glob("*.npz")) <= bounded.most_bytes
    bounded.get({"clip": 0}, maker)
    bounded.get({"clip": 3}, maker)
    assert maker.made == 4
    assert not list(tmp_path.glob("*.part"))


def test_an_entry_larger_than_the_bound_is_given_all_the_same(maker: Maker, tmp_path: Path) -> None:
    readings = KeptReadings(tmp_path, most_bytes=1)
    for number in (0, 1):
        readings.get({"clip": number}, maker)
    assert len(list(tmp_path.glob("*.npz"))) == 1


def test_a_place_that_cannot_be_written_costs_time_only(maker: Maker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    readings = KeptReadings(tmp_path / "file" / "below")
    readings.get({}, maker)
    assert same(readings.get({}, maker).reading, maker.kept.reading)
    assert maker.made == 2


def test_others_wait_for_the_one_that_makes_it(maker: Maker, tmp_path: Path) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slowly() -> Kept:
        begun.set()
        assert may_end.wait(patient(30))
        return maker()

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(KeptReadings(tmp_path).get, {}, slowly)
        assert begun.wait(patient(30))
        second = threads.submit(KeptReadings(tmp_path).get, {}, maker)
        may_end.set()
        assert same(first.result().reading, second.result().reading)
    assert maker.made == 1


def test_nobody_is_waited_for_longer_than_said(maker: Maker, tmp_path: Path) -> None:
    def held() -> Kept:
        # Asked for while this one is being made: there is no time to wait.
        KeptReadings(tmp_path, wait_s=0.0).get({}, maker)
        assert maker.made == 1
        return maker.kept

    KeptReadings(tmp_path).get({}, held)
    KeptReadings(tmp_path).get({}, maker)
    assert maker.made == 1


def test_a_maker_that_fails_leaves_nothing_behind(maker: Maker, tmp_path: Path) -> None:
    def broken() -> Kept:
        raise RuntimeError("no video")

    with pytest.raises(RuntimeError, match="no video"):
        KeptReadings(tmp_path).get({}, broken)
    KeptReadings(tmp_path, wait_s=0.0).get({}, maker)
    assert maker.made == 1


def test_digests_follow_the_content(clip: ReferenceClip) -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})
    zeros = np.zeros((2, 3), np.float32)
    alike = [zeros, zeros.reshape(3, 2), zeros.astype(np.int32), zeros + 1]
    assert len({digest_of_arrays([array]) for array in alike}) == len(alike)
    assert digest_of_arrays([zeros.T]) == digest_of_arrays([np.ascontiguousarray(zeros.T)])
    net = nn.Linear(2, 2)
    before = digest_of_network(net)
    nn.init.constant_(net.bias, 3.0)
    assert digest_of_network(net) != before
    longer = dataclasses.replace(clip, frames_THWC=clip.frames_THWC[:-1])
    assert len({clip.digest, longer.digest, clip_of(903_001, motion=4).digest}) == 2
