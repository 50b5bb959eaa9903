"""Writes sound files of many kinds for the tests: by PyAV, and WAV headers byte by byte."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream

from flashtalk.arrays import Pcm


def tone(seconds: float, pcm_hz: int, hertz: float = 440.0, channels: int = 1) -> Pcm:
    """[C, S] of a sine at half scale."""
    time_s = np.arange(round(seconds * pcm_hz)) / pcm_hz
    return np.tile((0.5 * np.sin(2 * np.pi * hertz * time_s)).astype(np.float32), (channels, 1))


def encode(path: Path, codec: str, pcm_CS: Pcm, pcm_hz: int, fmt: str | None = None) -> Path:
    """Write [C, S] with one of FFmpeg's encoders; the file's name chooses the container."""
    layout = {1: "mono", 2: "stereo"}[len(pcm_CS)]
    with av.open(str(path), "w", format=fmt) as container:
        track = container.add_stream(codec, rate=pcm_hz, layout=layout)
        assert isinstance(track, AudioStream)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm_CS), "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = pcm_hz, 0, Fraction(1, pcm_hz)
        for packet in (*track.encode(frame), *track.encode(None)):
            container.mux(packet)
    return path


def wav(
    path: Path,
    pcm_S: Pcm,
    pcm_hz: int = 16_000,
    *,
    data_bytes: int | None = None,
    before: bytes = b"",
    floats: bool = False,
) -> Path:
    """A mono WAV file by hand.

    Args:
        data_bytes: what the header says instead of the true size.
        before: chunks between ``fmt`` and ``data``.
        floats: 32-bit floats instead of 16-bit integers.
    """
    body = pcm_S.astype("<f4") if floats else (pcm_S * 32_767).round().astype("<i2")
    sound, width = body.tobytes(), body.itemsize
    stated = len(sound) if data_bytes is None else data_bytes
    fmt = struct.pack("<HHIIHH", 3 if floats else 1, 1, pcm_hz, pcm_hz * width, width, 8 * width)
    riff_bytes = min(36 + len(before) + stated, 0xFFFF_FFFF)
    header = b"RIFF" + struct.pack("<I", riff_bytes) + b"WAVEfmt " + struct.pack("<I", 16) + fmt
    path.write_bytes(header + before + b"data" + struct.pack("<I", stated) + sound)
    return path


def picture_file(path: Path) -> Path:
    """A PNG of one colour: a file that FFmpeg opens but that has no sound."""
    from PIL import Image

    Image.new("RGB", (32, 32), (10, 20, 30)).save(path)
    return path
