"""Sound files: every kind is read as mono 16 kHz, every bad one is one clear error."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flashtalk.errors import InputError
from flashtalk.media import inspect_audio, read_pcm, stream_pcm
from tests.fakes.sound_files import encode, picture_file, tone, wav


@pytest.mark.parametrize(
    ("name", "codec", "pcm_hz", "channels"),
    [
        ("a.wav", "pcm_s16le", 8_000, 2),
        ("a.wav", "pcm_u8", 11_025, 1),
        ("a.wav", "pcm_s24le", 48_000, 2),
        ("a.wav", "pcm_f64le", 16_000, 1),
        ("a.mp3", "libmp3lame", 44_100, 2),
        ("a.ogg", "libopus", 16_000, 1),
        ("a.opus", "libopus", 48_000, 2),
        ("a.flac", "flac", 44_100, 1),
        ("a.m4a", "aac", 48_000, 2),
        ("a.mka", "ac3", 48_000, 2),
    ],
)
def test_every_kind_is_heard_at_its_own_pitch_and_length(
    tmp_path: Path, name: str, codec: str, pcm_hz: int, channels: int
) -> None:
    path = encode(tmp_path / name, codec, tone(1.0, pcm_hz, 440, channels), pcm_hz)
    pcm = read_pcm(path)
    assert pcm.dtype == np.float32
    assert abs(len(pcm) - 16_000) < 1_600  # codecs without gapless data keep a frame of padding
    middle = pcm[4_000:12_000]
    assert abs(np.abs(np.fft.rfft(middle)).argmax() * 2 - 440) <= 2
    assert 0.3 < np.abs(middle).max() < 0.75


def test_mono_16_khz_passes_through_sample_by_sample(tmp_path: Path) -> None:
    pcm = np.random.default_rng(0).uniform(-1, 1, 12_345).astype(np.float32)
    assert np.array_equal(read_pcm(wav(tmp_path / "a.wav", pcm, floats=True)), pcm)


@pytest.mark.parametrize(("pcm_hz", "samples"), [(8_000, 8_001), (48_000, 4_803), (44_100, 44_100)])
def test_the_length_is_kept_at_any_rate(tmp_path: Path, pcm_hz: int, samples: int) -> None:
    path = wav(tmp_path / "a.wav", tone(2, pcm_hz)[0, :samples], pcm_hz)
    assert abs(len(read_pcm(path)) - samples * 16_000 / pcm_hz) <= 1


@pytest.mark.parametrize("data_bytes", [0, 0xFFFF_FFFF, 0x7FFF_F000])
def test_wav_headers_that_leave_the_length_open_are_read_to_the_end(
    tmp_path: Path, data_bytes: int
) -> None:
    pcm = tone(0.5, 16_000)[0]
    assert len(read_pcm(wav(tmp_path / "a.wav", pcm, data_bytes=data_bytes))) == len(pcm)


def test_wav_files_with_other_chunks_before_the_sound_are_read(tmp_path: Path) -> None:
    pcm = tone(0.5, 16_000)[0]
    path = wav(tmp_path / "a.wav", pcm, before=b"junk\x03\x00\x00\x00abc\x00")
    assert len(read_pcm(path)) == len(pcm)


def test_the_stream_is_the_whole_and_its_facts_are_true(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp3", "libmp3lame", tone(3.0, 44_100, channels=2), 44_100)
    packets = list(stream_pcm(path))
    assert len(packets) > 10
    whole = read_pcm(path)
    assert np.array_equal(np.concatenate(packets), whole)
    facts = inspect_audio(path)
    assert (facts.samples, facts.peak) == (len(whole), np.abs(whole).max())
    assert facts.seconds == pytest.approx(3, abs=0.1)


def test_a_long_file_streams_in_little_memory(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone(120, 16_000)[0])
    tracemalloc.start()
    try:
        samples = sum(len(packet) for packet in stream_pcm(path))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert samples == 120 * 16_000
    assert peak_bytes < samples  # a quarter of what the samples take


def nothing(path: Path) -> Path:
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def content(data: bytes) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_bytes(data)
        return path

    return write


def cut(keep_bytes: int) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        whole = wav(path, tone(2, 16_000)[0]).read_bytes()
        path.write_bytes(whole[:keep_bytes])
        return path

    return write


def cut_flac(path: Path) -> Path:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 64_000)).astype(np.float32)
    whole = encode(path, "flac", noise, 16_000, "flac").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def with_sample(value: float) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        pcm = tone(1, 16_000)[0]
        pcm[5_000] = value
        return wav(path, pcm, floats=True)

    return write


def silent(path: Path) -> Path:
    return wav(path, np.zeros(16_000, np.float32))


def silent_mp3(path: Path) -> Path:
    return encode(path, "libmp3lame", np.zeros((1, 32_000), np.float32), 16_000, "mp3")


def no_samples(path: Path) -> Path:
    return wav(path, np.zeros(0, np.float32))


NOISE = np.random.default_rng(1).bytes(100_000)
BAD = {
    "missing": (nothing, "no such file"),
    "name too long": (lambda path: path.with_name("a" * 300), "not readable"),
    "folder": (folder, "not a file"),
    "empty": (content(b""), "empty"),
    "text": (content(b"hello " * 500), "not readable as audio"),
    "random bytes": (content(NOISE), "audio|sound"),
    "picture": (picture_file, "no audio"),
    "header only": (cut(20), "not readable as audio"),
    "no samples": (no_samples, "no audio"),
    "cut off": (cut(40_000), "truncated"),
    "cut to its header": (cut(44), "truncated"),
    "cut-off flac": (cut_flac, "truncated"),
    "nan": (with_sample(np.nan), "NaN"),
    "infinite": (with_sample(np.inf), "NaN or inf"),
}


@pytest.mark.parametrize("make", [silent, silent_mp3])
@pytest.mark.parametrize("read", [read_pcm, inspect_audio])
def test_silence_can_be_used_and_is_noted(
    tmp_path: Path, make: Callable[[Path], Path], read: Callable[..., object]
) -> None:
    notes: list[str] = []
    read(make(tmp_path / "a.wav"), note=notes.append)
    assert len(notes) == 1
    assert "silent" in notes[0]
    assert str(tmp_path / "a.wav") in notes[0]


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("read", [read_pcm, inspect_audio])
def test_bad_sound_is_one_clear_error(
    tmp_path: Path, kind: str, read: Callable[[Path], object], capfd: pytest.CaptureFixture[str]
) -> None:
    make, reason = BAD[kind]
    # A PNG has to say so: FFmpeg trusts the bytes, the test does not trust FFmpeg.
    path = make(tmp_path / ("a.png" if kind == "picture" else "a.wav"))
    with pytest.raises(InputError, match=reason) as raised:
        read(path)
    assert raised.value.field == "audio"
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)
    assert capfd.readouterr().err == ""
