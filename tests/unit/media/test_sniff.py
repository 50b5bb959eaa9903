"""Bytes of a pipe: a container is known by its beginning and decoded, samples are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flashtalk.errors import InputError
from flashtalk.media import SNIFFED_BYTES, container_of, decode_stream, read_pcm
from tests.fakes.sound_files import encode, tone
from tests.fakes.stamped_files import Dripping

FILES = [
    ("a.wav", "pcm_s16le", 24_000, "wav"),
    ("a.mp3", "libmp3lame", 44_100, "mp3"),
    ("low.mp3", "libmp3lame", 16_000, "mp3"),
    ("a.mp2", "mp2", 48_000, "mp3"),
    ("a.aac", "aac", 48_000, "aac"),
    ("a.ogg", "libopus", 48_000, "ogg"),
    ("a.flac", "flac", 44_100, "flac"),
    ("a.m4a", "aac", 48_000, "mp4"),
    ("a.webm", "libopus", 48_000, "webm"),
    ("a.mka", "ac3", 48_000, "webm"),
    ("a.aiff", "pcm_s16be", 44_100, "aiff"),
    ("a.au", "pcm_s16be", 16_000, "au"),
    ("a.caf", "pcm_s16be", 16_000, "caf"),
    ("a.w64", "pcm_s16le", 16_000, "w64"),
    ("a.ts", "aac", 48_000, "mpegts"),
]


@pytest.mark.parametrize(("name", "codec", "pcm_hz", "kind"), FILES)
def test_every_container_is_known_and_decoded_as_a_file_is(
    tmp_path: Path, name: str, codec: str, pcm_hz: int, kind: str
) -> None:
    path = encode(tmp_path / name, codec, tone(2.0, pcm_hz), pcm_hz)
    data = path.read_bytes()
    assert container_of(data[:SNIFFED_BYTES]) == kind
    whole = read_pcm(path)
    first = data[:SNIFFED_BYTES]
    rest = Dripping(data[SNIFFED_BYTES:], 500)
    found = np.concatenate(list(decode_stream(rest, "speech", first_bytes=first)))
    # A file says in its header, or at its end, how much the codec added; a pipe cannot go there.
    assert abs(len(found) - len(whole)) <= 16_000 * 0.06
    assert np.abs(np.fft.rfft(found[4_000:20_000])).argmax() == pytest.approx(440, abs=1)


@pytest.mark.parametrize(
    ("name", "codec", "pcm_hz", "most_s"),
    [
        ("a.wav", "pcm_s16le", 24_000, 0.3),
        ("a.mp3", "libmp3lame", 24_000, 1.2),
        ("a.webm", "libopus", 48_000, 0.7),
        ("a.aac", "aac", 48_000, 0.7),
    ],
)
def test_sound_comes_out_soon_after_it_went_in(
    tmp_path: Path, name: str, codec: str, pcm_hz: int, most_s: float
) -> None:
    """Counted in what had to go in before, not in time."""
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 10 * pcm_hz)).astype(np.float32)
    data = encode(tmp_path / name, codec, noise, pcm_hz).read_bytes()
    pipe = Dripping(data, 512)
    next(decode_stream(pipe, "speech"))
    assert pipe.given / len(data) * 10 < most_s


def test_sound_of_mpeg_is_known_inside_a_frame_and_behind_a_tag(tmp_path: Path) -> None:
    data = encode(tmp_path / "a.mp3", "libmp3lame", tone(2.0, 24_000), 24_000).read_bytes()
    begin = data.index(b"\xff\xf3")
    assert container_of(data[begin : begin + SNIFFED_BYTES]) == "mp3"
    assert container_of(data[begin + 100 : begin + 100 + SNIFFED_BYTES]) == "mp3"
    cover = b"ID3\3\0\0" + bytes((0, 18, 39, 96)) + bytes(300_000) + data[begin:]
    assert container_of(cover[:SNIFFED_BYTES]) == "mp3"
    found = np.concatenate(list(decode_stream(Dripping(cover, 4_096), "speech")))
    assert len(found) / 16_000 == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    "start",
    [b"", b"\xff\xfb\x90\x64", b"\xff\xf1\x50\x80", b"\xff\xf3\x40\xc4", b"\xff\xff", b"\x47"],
)
@pytest.mark.parametrize("scale", [0.0, 3.0, 300.0, 9_000.0, 40_000.0])
def test_samples_are_no_container_even_if_they_begin_like_one(start: bytes, scale: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        samples = rng.normal(0, scale, SNIFFED_BYTES // 2).clip(-32_768, 32_767)
        data = start + samples.astype("<i2").tobytes()[len(start) :]
        assert container_of(data) is None


def test_few_bytes_are_no_container() -> None:
    for data in (b"", b"\0", b"R", b"RIFF", b"\xff\xfb\x90\x64", b"\xff" * 4_096, bytes(4_096)):
        assert container_of(data) is None
    assert container_of(b"RIFF\0\0\0\0WAVE") == "wav"


@pytest.mark.parametrize("data", [b"OggS" + bytes(200), b"ID3\4" + bytes(50), b"\x1a\x45\xdf\xa3"])
def test_a_container_that_holds_nothing_is_one_line(data: bytes) -> None:
    with pytest.raises(InputError, match="audio: speech: ") as raised:
        list(decode_stream(Dripping(data), "speech"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["a.mp3", "a.webm", "a.flac"])
def test_a_stream_that_breaks_off_is_heard_up_to_there(tmp_path: Path, name: str) -> None:
    codec = {"a.mp3": "libmp3lame", "a.webm": "libopus", "a.flac": "flac"}[name]
    data = encode(tmp_path / name, codec, tone(4.0, 48_000), 48_000).read_bytes()
    pipe = Dripping(data[: len(data) // 2])
    found = np.concatenate(list(decode_stream(pipe, "speech")))
    assert len(found) / 16_000 == pytest.approx(2, abs=0.6)


def test_an_error_of_the_pipe_reaches_the_caller(tmp_path: Path) -> None:
    class Broken:
        def read(self, size: int, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        list(decode_stream(Broken(), "speech"))
