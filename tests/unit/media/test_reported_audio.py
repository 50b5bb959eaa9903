"""Sound files that people reported: lengths, headers, silence; from a file and through a pipe."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flashtalk.arrays import Pcm
from flashtalk.errors import InputError
from flashtalk.media import decode_stream, inspect_audio, read_pcm
from tests.fakes.stamped_files import Dripping
from tests.fakes.wav_chunks import FLOAT, chunk, fmt, sixteen_bits, wav_file

CASES = Path(__file__).parents[2] / "cases"
PLAIN = CASES / "wav-data-length-plus-16.wav"
SOUND = PLAIN.read_bytes()[44:]
SPEECH: Pcm = (np.frombuffer(SOUND, "<i2") / 32_768).astype(np.float32)
HALF = len(SOUND) // 2
OPEN = 0xFFFF_FFFF


@dataclass
class Result:
    """What came of an input: samples and notes, or an error."""

    pcm_S: Any = None
    error: str = ""
    notes: list[str] = field(default_factory=list)


def from_file(data: bytes, folder: Path) -> Result:
    path = folder / "speech.wav"
    path.write_bytes(data)
    result = Result()
    try:
        result.pcm_S = read_pcm(path, note=result.notes.append)
    except InputError as error:
        result.error = str(error)
    return result


def from_pipe(data: bytes, folder: Path) -> Result:
    result = Result()
    try:
        packets = decode_stream(Dripping(data, 777), "speech", note=result.notes.append)
        result.pcm_S = np.concatenate(list(packets))
    except InputError as error:
        result.error = str(error)
    return result


both = pytest.mark.parametrize("read", [from_file, from_pipe])
Read = Callable[[bytes, Path], Result]


def rms(pcm_S: Pcm) -> float:
    return float(np.sqrt(np.mean(np.square(pcm_S, dtype=np.float64))))


@both
@pytest.mark.parametrize(
    ("name", "seconds", "level", "note"),
    [
        ("wav-placeholder-2000000000.wav", 1.5, 1.0, "header gives 62500 s"),
        ("wav-data-length-plus-16.wav", 1.5, 1.0, ""),
        ("wav-responses-concatenated.wav", 1.5, 1.0, ""),
        ("stereo-out-of-phase.wav", 1.5, 1.0, ""),
        ("stereo-97-percent-out-of-phase.wav", 1.5, 1.0, ""),
        # Two channels of nine speak, and the file is a third as long.
        ("channels-9.wav", 0.5, None, ""),
        # One second and a half of the same speech through AAC, and a file with a hole in it.
        ("best-track-undecodable.mov", 1.5, 0.99, "using track 1"),
        ("gap-3s.webm", 5.0, None, "3.00 s of audio are missing"),
    ],
)
def test_reported_files_are_heard(
    read: Read, name: str, seconds: float, level: float | None, note: str, tmp_path: Path
) -> None:
    result = read((CASES / name).read_bytes(), tmp_path)
    assert result.error == ""
    assert len(result.pcm_S) / 16_000 == pytest.approx(seconds, abs=0.02)
    if level is not None:
        assert rms(result.pcm_S) / rms(SPEECH) == pytest.approx(level, abs=0.02)
    assert len(result.notes) == (1 if note else 0), result.notes
    assert note in "".join(result.notes)


@both
def test_nine_channels_are_their_mean(read: Read, tmp_path: Path) -> None:
    data = (CASES / "channels-9.wav").read_bytes()
    mean_S = np.frombuffer(data[44:], "<i2").reshape(-1, 9).mean(axis=1) / 32_768
    found = read(data, tmp_path).pcm_S
    assert np.abs(found - mean_S).max() < 1e-6


@both
def test_a_hole_is_silent_and_what_follows_is_in_its_place(read: Read, tmp_path: Path) -> None:
    found = read((CASES / "gap-3s.webm").read_bytes(), tmp_path).pcm_S
    # 50 packets of 20 ms are before the hole, the first of them less what the codec skips.
    begin, end = round(1.03 * 16_000), round(4.01 * 16_000)
    assert np.abs(found[begin:end]).max() == 0
    assert rms(found[:begin]) > 0.01
    assert rms(found[end:]) > 0.01


@both
def test_a_codec_that_does_not_exist_is_one_line(read: Read, tmp_path: Path) -> None:
    result = read((CASES / "wav-unknown-format-tag.wav").read_bytes(), tmp_path)
    assert result.error.endswith("contains no audio that can be decoded")
    assert "\n" not in result.error


LENGTHS = [
    *(0, OPEN, OPEN - 36, OPEN - 255, 0x7FFF_FFFF, 0x7FFF_FFFF - 36, 0x7FFF_F000, 0x8000_0000),
    *(2_000_000_000, 1_000_000_000, 100_000_000, 0x4000_0000, 0x3FFF_FFFF, 0x1000_0000),
]


@both
@pytest.mark.parametrize("data_bytes", LENGTHS)
def test_a_length_that_cannot_be_is_unknown(read: Read, data_bytes: int, tmp_path: Path) -> None:
    for riff_bytes in (None, 0, OPEN, data_bytes):
        result = read(wav_file(SOUND, data_bytes=data_bytes, riff_bytes=riff_bytes), tmp_path)
        assert np.array_equal(result.pcm_S, SPEECH)
        assert all("using the audio in the file" in note for note in result.notes)


@both
@pytest.mark.parametrize("off", [-15_999, -8_000, -17, -16, -1, 1, 16, 17, 8_000, 16_000])
def test_half_a_second_more_or_less_is_tolerated(read: Read, off: int, tmp_path: Path) -> None:
    result = read(wav_file(SOUND, data_bytes=len(SOUND) + off), tmp_path)
    assert result.notes == []
    # Half a sample is none; what is shorter than 10 ms behind the sound is no sound.
    assert abs(len(result.pcm_S) - len(SPEECH)) <= 160
    assert np.array_equal(result.pcm_S, SPEECH[: len(result.pcm_S)])


@both
@pytest.mark.parametrize("stated", [2, 1_000, HALF])
def test_sound_that_the_header_does_not_state_is_taken(
    read: Read, stated: int, tmp_path: Path
) -> None:
    result = read(wav_file(SOUND, data_bytes=stated), tmp_path)
    assert np.array_equal(result.pcm_S, SPEECH)
    assert "using all audio in the file" in result.notes[0]


@pytest.mark.parametrize("missing", [16_002, 40_000])
def test_more_than_half_a_second_is_cut_off(missing: int, tmp_path: Path) -> None:
    data = wav_file(SOUND)[:-missing]
    assert f"truncated: {missing} bytes" in from_file(data, tmp_path).error
    # From a pipe all of it has been heard by then.
    piped = from_pipe(data, tmp_path)
    assert "truncated" in piped.notes[0]


LIST = chunk(b"LIST", b"INFOISFT\x05\0\0\0Lavf5", padded=False)
HEADERS = {
    "odd list, not padded": wav_file(SOUND, before=LIST),
    "odd list, padded": wav_file(SOUND, before=LIST + b"\0"),
    "odd list first, not padded": wav_file(SOUND, kind=LIST + fmt()),
    "odd chunk of no known name": wav_file(SOUND, before=chunk(b"abcd", b"xyz", padded=False)),
    "list that says it is longer": wav_file(SOUND, before=b"LIST\x80\x01\0\0INFOabcd"),
    "list that says it is shorter": wav_file(SOUND, before=b"LIST\x02\0\0\0INFOabcd"),
    "list behind": wav_file(SOUND, after=LIST),
    "list behind, length unknown": wav_file(SOUND, data_bytes=0, riff_bytes=0),
    "zeros behind": wav_file(SOUND, after=bytes(40_000)),
    "tag behind": wav_file(SOUND, after=b"TAG" + b"\x20" * 125),
    "line end behind": wav_file(SOUND, after=b"\r\n"),
    "no step": wav_file(SOUND, kind=fmt(step=0)),
    "wrong step": wav_file(SOUND, kind=fmt(step=4)),
    "large file": b"RF64\xff\xff\xff\xffWAVE"
    + chunk(b"ds64", struct.pack("<QQQI", len(SOUND) + 72, len(SOUND), HALF, 0))
    + fmt()
    + b"data\xff\xff\xff\xff"
    + SOUND,
}


@both
@pytest.mark.parametrize("kind", HEADERS)
def test_headers_that_are_wrong_beside_the_sound(read: Read, kind: str, tmp_path: Path) -> None:
    result = read(HEADERS[kind], tmp_path)
    assert np.array_equal(result.pcm_S, SPEECH)
    assert result.notes == []


@both
@pytest.mark.parametrize("first", [None, 0, OPEN, 2_000_000_000, len(SOUND), len(SOUND) + 44])
@pytest.mark.parametrize("second", [None, 0, OPEN])
def test_files_behind_each_other_are_one_speech(
    read: Read, first: int | None, second: int | None, tmp_path: Path
) -> None:
    data = wav_file(SOUND[:HALF], data_bytes=first) + wav_file(SOUND[HALF:], data_bytes=second)
    result = read(data, tmp_path)
    assert np.array_equal(result.pcm_S, SPEECH)


@both
def test_parts_of_a_speech_may_have_anything_between_them(read: Read, tmp_path: Path) -> None:
    parts = [SOUND[first : first + 9_600] for first in range(0, len(SOUND), 9_600)]
    for join, data_bytes in (
        (b"", OPEN),
        (b"\r\n", None),
        (b"\r\n--next--\r\n", None),
        (LIST, None),
        (LIST + b"\0", None),
    ):
        data = join.join(wav_file(part, data_bytes=data_bytes) for part in parts)
        assert np.array_equal(read(data, tmp_path).pcm_S, SPEECH)
    # Half a sample at the end of a part does not turn the rest into noise.
    data = wav_file(SOUND[:HALF] + b"\1", data_bytes=OPEN) + wav_file(SOUND[HALF:])
    assert np.array_equal(read(data, tmp_path).pcm_S, SPEECH)


@both
def test_parts_of_other_kinds_are_converted(read: Read, tmp_path: Path) -> None:
    stereo = sixteen_bits([SPEECH[HALF // 2 :]] * 2)
    data = wav_file(SOUND[:HALF]) + wav_file(stereo, kind=fmt(channels=2))
    assert np.array_equal(read(data, tmp_path).pcm_S, SPEECH)
    twice = np.repeat(SPEECH[HALF // 2 :], 2)
    data = wav_file(SOUND[:HALF]) + wav_file(sixteen_bits(twice), kind=fmt(pcm_hz=32_000))
    found = read(data, tmp_path).pcm_S
    assert abs(len(found) - len(SPEECH)) <= 1


@both
def test_a_part_that_cannot_be_read_is_noted(read: Read, tmp_path: Path) -> None:
    strange = wav_file(SOUND[HALF:], kind=fmt(tag=0x1234))
    for data, part in (
        (wav_file(SOUND[:HALF]) + strange, "part 2"),
        (wav_file(SOUND[:HALF]) + wav_file(SOUND[HALF:])[:20], "contains no audio"),
    ):
        result = read(data, tmp_path)
        assert np.array_equal(result.pcm_S, SPEECH[: HALF // 2])
        assert part in result.notes[0]


@both
@pytest.mark.parametrize("pcm_hz", [0, 1, 100, 3_999, 384_001, 768_000, 2**31, 2**32 - 1])
def test_rates_that_no_sound_has_are_refused_with_the_range(
    read: Read, pcm_hz: int, tmp_path: Path
) -> None:
    result = read(wav_file(SOUND, kind=fmt(pcm_hz=pcm_hz)), tmp_path)
    assert "4000 to 384000" in result.error


@both
@pytest.mark.parametrize("pcm_hz", [4_000, 384_000])
def test_the_first_and_the_last_rate_are_read(read: Read, pcm_hz: int, tmp_path: Path) -> None:
    found = read(wav_file(SOUND, kind=fmt(pcm_hz=pcm_hz)), tmp_path).pcm_S
    assert abs(len(found) - len(SPEECH) * 16_000 / pcm_hz) <= 1


@both
@pytest.mark.parametrize(
    "data",
    [wav_file(b""), wav_file(b"", data_bytes=OPEN), wav_file(b"")[:40]],
    ids=["none", "length unknown", "no length"],
)
def test_no_sound_is_one_line(read: Read, data: bytes, tmp_path: Path) -> None:
    result = read(data, tmp_path)
    assert "audio: " in result.error
    assert "\n" not in result.error


@both
def test_silence_is_a_sound_with_a_note(read: Read, tmp_path: Path) -> None:
    result = read(wav_file(bytes(32_000)), tmp_path)
    assert len(result.pcm_S) == 16_000
    assert result.notes[0].endswith("silent: 1.00 s")


def test_silence_has_facts(tmp_path: Path) -> None:
    path, notes = tmp_path / "a.wav", list[str]()
    path.write_bytes(wav_file(bytes(32_000)))
    facts = inspect_audio(path, note=notes.append)
    assert (facts.samples, facts.peak) == (16_000, 0)
    assert len(notes) == 1


def test_samples_of_any_size_are_no_reason_for_a_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    loud = np.array([[0.5, 3e38] * 8_000, [0.5, -3e38] * 8_000], np.float32)
    kind = fmt(channels=2, bits=32, tag=FLOAT)
    found = from_file(wav_file(loud.T.astype("<f4").tobytes(), kind=kind), tmp_path).pcm_S
    assert np.isfinite(found).all()
    assert capfd.readouterr().err == ""


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """A long one whose length is unknown, searched for further headers as it comes."""
    import tracemalloc

    data = wav_file(SOUND * 40, data_bytes=OPEN)
    tracemalloc.start()
    try:
        samples = sum(len(packet) for packet in decode_stream(Dripping(data, 2**16), "speech"))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert samples == 40 * len(SPEECH)
    assert peak_bytes < len(SOUND) * 20 + sys.getsizeof(data)
