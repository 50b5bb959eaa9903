"""Where ``flashtalk talk`` takes its speech from, and where its video goes.

Legend: S samples.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from flashtalk.errors import InputError
from flashtalk.media import Mp4Writer, check_target, inspect_audio, stream_pcm
from flashtalk.media.pipe import PipeWriter
from flashtalk.streaming import Pcm, StreamSpec, frame_count
from flashtalk.v1 import media_pb2
from flashtalk.wire import pcm_from_bytes

PIPE = "-"
_READ_BYTES = 6_400


class Writer(Protocol):
    """Takes pictures with their sound."""

    def write_encoded(self, video: bytes, pcm_S: Pcm, *, key_frame: bool) -> None:
        """Appends one."""

    def close(self) -> None:
        """Ends the video."""


def check_ends(image: Path, audio: str, out: str) -> int | None:
    """Can both be used? Gives the number of frames to come, if it is known.

    Raises:
        InputError: a file that cannot be read or written.
    """
    frames = None
    if audio != PIPE:
        frames = frame_count(inspect_audio(audio).samples, StreamSpec())
    if out != PIPE:
        check_target(out)
        for name, source in (("image", str(image)), ("audio", audio)):
            if source != PIPE and Path(out).exists() and Path(out).samefile(source):
                raise InputError("out", out, f"would replace the {name}")
    return frames


def open_writer(out: str, *, fps: int, size_hw: tuple[int, int], pcm_hz: int) -> Writer:
    """A file, or standard output as an MPEG transport stream."""
    if out == PIPE:
        return PipeWriter(sys.stdout.buffer, fps=fps, size_hw=size_hw, pcm_hz=pcm_hz)
    return Mp4Writer(out, fps=fps, size_hw=size_hw, pcm_hz=pcm_hz, encoded=True)


async def read_speech(audio: str, pcm_hz: int) -> AsyncIterator[Pcm]:
    """Packets of float32 [S]: of a file, or of 16 bit mono samples on standard input."""
    if audio != PIPE:
        for packet_S in stream_pcm(audio, pcm_hz):
            yield packet_S
        return
    rest = b""
    async for data in _standard_input():
        whole = len(rest + data) // 2 * 2
        joined, rest = (rest + data)[:whole], (rest + data)[whole:]
        if joined:
            yield pcm_from_bytes(joined, media_pb2.AUDIO_ENCODING_PCM_S16LE, "audio")
    if rest:
        raise InputError("audio", "-", "ends in the middle of a 16-bit sample")


async def _standard_input() -> AsyncIterator[bytes]:
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    try:
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
        )
    except ValueError:
        # A file was redirected: it is there as a whole, and reading does not wait.
        while data := sys.stdin.buffer.read(_READ_BYTES):
            yield data
        return
    try:
        while data := await reader.read(_READ_BYTES):
            yield data
    finally:
        transport.close()
