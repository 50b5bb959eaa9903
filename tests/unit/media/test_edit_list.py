"""Edit lists of MP4: every part of the track in its place, whatever the list says."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from flashtalk.arrays import Pcm
from flashtalk.errors import InputError
from flashtalk.media import decode_stream, read_pcm
from flashtalk.media.edit_list import late_pauses
from tests.fakes.edit_lists import Entry, with_edits
from tests.fakes.sound_files import encode
from tests.fakes.stamped_files import Dripping

# Container, codec, sampling rate; exact are those whose codec puts nothing before the sound.
KINDS = {
    "samples": ("a.mov", "pcm_s16le", 16_000),
    "aac": ("a.mp4", "aac", 44_100),
    "alac": ("a.m4a", "alac", 48_000),
}
SECONDS, PITCHES_HZ = 4, (300, 500, 800, 1_300)
# What the encoder of AAC puts before the sound, which an edit list has to skip.
PRIMING_S = {"aac": 1_024 / 44_100}


def scale(pcm_hz: int) -> Pcm:
    """[1, S] of four seconds, each with a pitch of its own."""
    time_s = np.arange(pcm_hz) / pcm_hz
    seconds = [0.5 * np.sin(2 * np.pi * pitch_hz * time_s) for pitch_hz in PITCHES_HZ]
    return np.concatenate(seconds).astype(np.float32)[None]


def film(folder: Path, kind: str, edits: list[Entry], *, version: int = 0) -> Path:
    """The scale, edited."""
    name, codec, pcm_hz = KINDS[kind]
    path = encode(folder / name, codec, scale(pcm_hz), pcm_hz)
    primed_s = PRIMING_S.get(kind, 0.0)
    late = [(seconds, None if at_s is None else at_s + primed_s) for seconds, at_s in edits]
    return with_edits(path, late, version=version)


def heard(pcm_S: Pcm) -> str:
    """What the middle of each half second holds: the number of its pitch, or a dot."""
    found = ""
    for first in range(0, len(pcm_S) - 7_900, 8_000):
        middle_S = pcm_S[first + 2_000 : first + 6_000] * np.hanning(4_000)
        if np.abs(middle_S).max() < 0.01:
            found += "."
            continue
        pitch_hz = np.abs(np.fft.rfft(middle_S)).argmax() * 16_000 / 4_000
        found += str(np.abs(np.array(PITCHES_HZ) - pitch_hz).argmin())
    return found


EDITS: dict[str, tuple[list[Entry], str]] = {
    "a pause in the middle": ([(1, 0), (1.5, None), (1, 1)], "00...11"),
    "pauses before and in the middle": ([(0.5, None), (1, 0), (1, None), (2, 1)], ".00..1122"),
    "two pauses behind each other": ([(1, 0), (0.5, None), (0.5, None), (1, 3)], "00..33"),
    "backwards": ([(1, 2), (0.5, None), (1, 1), (0.5, None), (1, 0)], "22.11.00"),
    "one part twice": ([(1, 1), (1, None), (1, 1)], "11..11"),
    "a pause at the end": ([(1, 1), (1, 2), (1, None)], "1122.."),
    "parts that are shorter than a packet": (
        [(1, 0), (0.5, None), *[(0.02, 1 + 0.02 * n) for n in range(25)], (0.5, None), (1, 3)],
        "00.1.33",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("edits", EDITS)
def test_every_part_is_heard_in_its_place(tmp_path: Path, kind: str, edits: str) -> None:
    listed, expected = EDITS[edits]
    path = film(tmp_path, kind, listed)
    found = read_pcm(path)
    assert heard(found) == expected
    assert len(found) / 16_000 == pytest.approx(len(expected) / 2, abs=0.03)
    piped = np.concatenate(list(decode_stream(Dripping(path.read_bytes()), path.name)))
    np.testing.assert_array_equal(piped, found)


def test_samples_are_where_the_list_puts_them(tmp_path: Path) -> None:
    """To the sample, where packets begin and end elsewhere."""
    path = film(tmp_path, "samples", [(0.777, 0.123), (0.4, None), (1.333, 2.468)], version=1)
    sound_S = np.rint(scale(16_000)[0] * 32_768).clip(-32_768, 32_767) / 32_768
    expected_S = np.concatenate([sound_S[1_968:14_400], np.zeros(6_400), sound_S[39_488:60_816]])
    np.testing.assert_allclose(read_pcm(path), expected_S, atol=2 / 32_768)


def test_an_index_before_the_sound_is_enough_for_a_pipe_to_know(tmp_path: Path) -> None:
    listed, expected = EDITS["a pause in the middle"]
    plain = film(tmp_path, "aac", listed).read_bytes()
    boxes = {plain[at + 4 : at + 8]: plain[at : at + size] for at, size in _places(plain)}
    assert list(boxes)[-1] == b"moov"
    early = tmp_path / "early.mp4"
    early.write_bytes(_moved_index(boxes))
    assert early.read_bytes().find(b"moov") < early.read_bytes().find(b"mdat")
    assert heard(read_pcm(early)) == expected
    piped = np.concatenate(list(decode_stream(Dripping(early.read_bytes()), "pipe")))
    assert heard(piped) == expected


@pytest.mark.parametrize("edits", [[(4, 0)], [(0.5, None), (3, 0)], [(1, 2), (1, 0)]])
def test_lists_that_ffmpeg_reads_right_are_left_to_it(tmp_path: Path, edits: list[Entry]) -> None:
    with film(tmp_path, "aac", edits).open("rb") as file:
        assert late_pauses(file) == {}


def test_notes_tell_how_long_the_pauses_are(tmp_path: Path) -> None:
    notes: list[str] = []
    path = film(tmp_path, "aac", EDITS["a pause in the middle"][0])
    read_pcm(path, note=notes.append)
    assert notes == [f"audio: {path}: 1.50 s of audio are missing; silence was inserted"]


def test_an_edit_behind_the_end_of_the_track_is_cut_off(tmp_path: Path) -> None:
    path = film(tmp_path, "samples", [(1, 0), (0.5, None), (3, 3)])
    with pytest.raises(InputError, match=r"truncated: header gives 4\.50 s, file contains 2\.50 s"):
        read_pcm(path)


@pytest.mark.parametrize("seed", range(20))
def test_bytes_that_are_wrong_are_no_list_and_no_error(tmp_path: Path, seed: int) -> None:
    """The index of a file that was damaged; and every beginning of it."""
    rng = np.random.default_rng(seed)
    data = bytearray(film(tmp_path, "samples", EDITS["backwards"][0]).read_bytes())
    at = data.find(b"moov")
    for place in rng.integers(at - 4, len(data), 30):
        data[place] = rng.integers(256)
    late_pauses(io.BytesIO(data))
    late_pauses(io.BytesIO(data[: int(rng.integers(len(data)))]))


def _places(data: bytes) -> list[tuple[int, int]]:
    places, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        places.append((at, size))
        at += size
    return places


def _moved_index(boxes: dict[bytes, bytes]) -> bytes:
    """The index in front, and the places in it moved by its own length."""
    index = bytearray(boxes[b"moov"])
    at = index.find(b"stco") + 4
    for place in range(at + 8, at + 8 + 4 * int.from_bytes(index[at + 4 : at + 8], "big"), 4):
        moved = int.from_bytes(index[place : place + 4], "big") + len(index)
        index[place : place + 4] = moved.to_bytes(4, "big")
    rest = b"".join(box for name, box in boxes.items() if name not in (b"ftyp", b"moov"))
    return boxes[b"ftyp"] + bytes(index) + rest
