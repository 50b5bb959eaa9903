"""Timestamps: holes become silence, roundings and delays add and lose nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from flashtalk.arrays import Pcm
from flashtalk.errors import InputError
from flashtalk.media import decode_stream, read_pcm
from tests.fakes.sound_files import encode
from tests.fakes.stamped_files import Dripping, Stamp, stamped

# Container, codec, sampling rate, options of the container.
KINDS = {
    "webm": ("a.webm", "libopus", 48_000, {}),
    "mka of aac": ("a.mka", "aac", 48_000, {}),
    "mka of mp3": ("a.mka", "libmp3lame", 44_100, {}),
    "mka of flac": ("a.mka", "flac", 16_000, {}),
    "mka of samples": ("a.mka", "pcm_s16le", 16_000, {}),
    "mp4": ("a.mp4", "aac", 44_100, {}),
    "mp4 in fragments": ("a.mp4", "aac", 44_100, {"movflags": "frag_keyframe+empty_moov"}),
    "transport stream": ("a.ts", "aac", 48_000, {}),
}
SECONDS = 2.0
# What AAC puts before and behind: at most two frames.
CODEC_S = 0.06


def tone(pcm_hz: int, seconds: float = SECONDS) -> Pcm:
    time_s = np.arange(round(seconds * pcm_hz)) / pcm_hz
    return (0.4 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)


def read(folder: Path, kind: str, stamp: Stamp, last_s: float | None = None) -> Pcm:
    """From the file; the pipe gives the same."""
    name, codec, pcm_hz, options = KINDS[kind]
    path = stamped(
        folder / name, codec, tone(pcm_hz), pcm_hz, stamp, last_s=last_s, options=options
    )
    found = read_pcm(path)
    piped = np.concatenate(list(decode_stream(Dripping(path.read_bytes()), name)))
    assert abs(len(piped) - len(found)) <= 16_000 * CODEC_S
    return found


def hole(pcm_S: Pcm) -> tuple[float, float]:
    """Begin and end of the longest silence between sounds, in seconds."""
    loud = np.flatnonzero(np.abs(pcm_S) > 0.01)
    longest = int(np.diff(loud).argmax())
    return loud[longest] / 16_000, loud[longest + 1] / 16_000


@pytest.mark.parametrize("kind", KINDS)
def test_packets_that_are_missing_become_silence(tmp_path: Path, kind: str) -> None:
    found = read(tmp_path, kind, lambda _, time_s: None if 0.5 <= time_s < 1.25 else time_s)
    assert len(found) / 16_000 == pytest.approx(SECONDS, abs=CODEC_S)
    begin_s, end_s = hole(found)
    assert begin_s == pytest.approx(0.5, abs=0.1)
    assert end_s == pytest.approx(1.25, abs=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_jump_forward_becomes_silence(tmp_path: Path, kind: str) -> None:
    found = read(tmp_path, kind, lambda _, time_s: time_s + 3 * (time_s >= 1))
    assert len(found) / 16_000 == pytest.approx(SECONDS + 3, abs=CODEC_S)
    begin_s, end_s = hole(found)
    assert end_s - begin_s == pytest.approx(3, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_many_small_holes_keep_every_sound_in_its_place(tmp_path: Path, kind: str) -> None:
    found = read(tmp_path, kind, lambda number, time_s: None if number % 10 == 5 else time_s)
    assert len(found) / 16_000 == pytest.approx(SECONDS, abs=CODEC_S + 0.08)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("jitter_s", [0.004, 0.015])
def test_delays_of_packets_add_and_lose_nothing(tmp_path: Path, kind: str, jitter_s: float) -> None:
    rng = np.random.default_rng(0)
    plain = read(tmp_path, kind, lambda _, time_s: max(time_s, 0))
    found = read(tmp_path, kind, lambda _, time_s: max(time_s + rng.uniform(-1, 1) * jitter_s, 0))
    # The first packet may itself be late; where it is, all is.
    assert abs(len(found) - len(plain)) <= 16_000 * (jitter_s + 0.002)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pace", [0.9, 1.001])
def test_a_clock_that_is_off_loses_nothing(tmp_path: Path, kind: str, pace: float) -> None:
    found = read(tmp_path, kind, lambda _, time_s: max(time_s, 0) * pace)
    assert SECONDS - 0.03 <= len(found) / 16_000 <= SECONDS + CODEC_S


@pytest.mark.parametrize("kind", ["webm", "mka of aac", "mp4"])
def test_a_late_first_sound_is_late(tmp_path: Path, kind: str) -> None:
    found = read(tmp_path, kind, lambda _, time_s: time_s + 3)
    assert len(found) / 16_000 == pytest.approx(SECONDS + 3, abs=CODEC_S)
    assert np.flatnonzero(np.abs(found) > 0.01)[0] / 16_000 == pytest.approx(3, abs=CODEC_S)


@pytest.mark.parametrize("kind", ["webm", "mka of aac", "mp4", "transport stream"])
def test_a_clock_that_does_not_begin_at_zero_means_nothing(tmp_path: Path, kind: str) -> None:
    found = read(tmp_path, kind, lambda _, time_s: time_s + 5_000)
    assert len(found) / 16_000 == pytest.approx(SECONDS, abs=CODEC_S)


@pytest.mark.parametrize("kind", ["mp4", "mp4 in fragments"])
def test_a_last_packet_that_lasts_is_followed_by_silence(tmp_path: Path, kind: str) -> None:
    """And is not taken for a file that was cut off."""
    found = read(tmp_path, kind, lambda _, time_s: time_s, last_s=3.0)
    assert len(found) / 16_000 == pytest.approx(SECONDS + 3, abs=CODEC_S)


@pytest.mark.parametrize("kind", ["webm", "mka of aac", "mp4"])
def test_hours_that_are_missing_are_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match=r"3\.0 h of audio are missing; at most 1 h"):
        read(tmp_path, kind, lambda _, time_s: time_s + 3 * 3_600 * (time_s >= 1))


def test_a_stream_that_sets_its_clock_is_no_hole(tmp_path: Path) -> None:
    kind = "transport stream"
    found = read(tmp_path, kind, lambda _, time_s: time_s + 3 * 3_600 * (time_s >= 1))
    assert len(found) / 16_000 == pytest.approx(SECONDS, abs=CODEC_S)


def test_notes_tell_how_much_is_missing(tmp_path: Path) -> None:
    notes: list[str] = []
    path = tmp_path / "a.webm"
    stamped(path, "libopus", tone(48_000), 48_000, lambda _, time_s: time_s + 3 * (time_s > 1))
    read_pcm(path, note=notes.append)
    assert notes == [f"audio: {path}: 3.00 s of audio are missing; silence was inserted"]


@pytest.mark.parametrize(("name", "codec"), [("a.ogg", "libopus"), ("a.mp3", "libmp3lame")])
def test_files_behind_each_other_are_no_holes(tmp_path: Path, name: str, codec: str) -> None:
    one = encode(tmp_path / name, codec, tone(48_000)[None], 48_000)
    with (tmp_path / f"two{name}").open("wb") as two:
        for _ in range(2):
            with one.open("rb") as file:
                shutil.copyfileobj(file, two)
    found = read_pcm(tmp_path / f"two{name}")
    assert len(found) / 16_000 == pytest.approx(2 * SECONDS, abs=0.15)
