"""Files with several sound tracks: the best that can be decoded, a word about the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flashtalk.arrays import Pcm
from flashtalk.errors import InputError
from flashtalk.media import decode_stream, inspect_audio, read_pcm
from tests.fakes.stamped_files import Dripping, spoilt, tracks

PCM_HZ = 48_000
TIME_S = np.arange(PCM_HZ) / PCM_HZ
TONE = (0.4 * np.sin(2 * np.pi * 440 * TIME_S)).astype(np.float32)
QUIET = (TONE / 2).astype(np.float32)
SILENCE = np.zeros(PCM_HZ, np.float32)


def heard(path: Path) -> tuple[Pcm, list[str]]:
    notes: list[str] = []
    return read_pcm(path, note=notes.append), notes


@pytest.mark.parametrize("name", ["a.mp4", "a.mka"])
def test_a_silent_first_track_is_told(tmp_path: Path, name: str) -> None:
    path = tracks(tmp_path / name, [("aac", SILENCE), ("aac", TONE)], PCM_HZ)
    found, notes = heard(path)
    assert np.abs(found).max() == 0
    assert len(notes) == 1
    assert "silent; track 1 is not" in notes[0]
    told: list[str] = []
    inspect_audio(path, note=told.append)
    assert told == notes


def test_where_all_tracks_are_silent_that_is_told(tmp_path: Path) -> None:
    path = tracks(tmp_path / "a.mp4", [("aac", SILENCE), ("aac", SILENCE)], PCM_HZ)
    assert "silent: " in heard(path)[1][0]


def test_a_silent_second_track_is_nothing_to_tell(tmp_path: Path) -> None:
    found, notes = heard(tracks(tmp_path / "a.mp4", [("aac", TONE), ("aac", SILENCE)], PCM_HZ))
    assert np.abs(found).max() > 0.3
    assert notes == []


def renamed(path: Path, *codecs: bytes) -> Path:
    """Give codecs a name that no decoder has."""
    data = path.read_bytes()
    for codec in codecs:
        assert codec in data
        data = data.replace(codec, codec[:-1] + b"?")
    path.write_bytes(data)
    return path


def test_the_best_track_that_has_a_decoder_is_heard(tmp_path: Path) -> None:
    path = tracks(tmp_path / "a.mkv", [("libopus", TONE), ("aac", QUIET)], PCM_HZ)
    found, notes = heard(renamed(path, b"A_OPUS"))
    assert np.abs(found[4_000:12_000]).max() == pytest.approx(0.2, abs=0.02)
    assert "track 0 cannot be decoded; using track 1" in notes[0]
    piped = np.concatenate(list(decode_stream(Dripping(path.read_bytes()), "speech")))
    assert np.array_equal(piped, found)


def test_no_track_with_a_decoder_is_one_line(tmp_path: Path) -> None:
    path = tracks(tmp_path / "a.mkv", [("libopus", TONE), ("aac", TONE)], PCM_HZ)
    renamed(path, b"A_OPUS", b"A_AAC")
    for read in (read_pcm, inspect_audio):
        with pytest.raises(InputError, match="contains no audio that can be decoded"):
            read(path)
    with pytest.raises(InputError, match="contains no audio that can be decoded"):
        list(decode_stream(Dripping(path.read_bytes()), "speech"))


def test_a_track_of_which_nothing_can_be_decoded_is_passed_over(tmp_path: Path) -> None:
    path = tracks(tmp_path / "a.mp4", [("aac", TONE), ("aac", QUIET)], PCM_HZ)
    found, notes = heard(spoilt(path, 0))
    assert np.abs(found[4_000:12_000]).max() == pytest.approx(0.2, abs=0.02)
    assert "using track 1" in notes[0]


def test_nothing_that_can_be_decoded_is_one_line(tmp_path: Path) -> None:
    path = spoilt(tracks(tmp_path / "a.mp4", [("aac", TONE)], PCM_HZ), 0)
    with pytest.raises(InputError, match="contains no audio that can be decoded"):
        read_pcm(path)
