"""The speech input and the video output of ``flashtalk talk``.

Legend: S samples.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from flashtalk.cli.piped_speech import PipedSpeech
from flashtalk.cli.piped_video import PipedVideo
from flashtalk.errors import InputError
from flashtalk.media import Mp4Writer, check_target, inspect_audio, portrait_bytes, stream_pcm
from flashtalk.streaming import Pcm
from flashtalk.terminal import tell

PIPE = "-"
_STDIN = 0
_PATIENCE_S = 2.0
"""Delay before a waiting message is printed."""


class Writer(Protocol):
    """Writes pictures with their sound."""

    def write_encoded(self, video: bytes, pcm_S: Pcm, *, key_frame: bool) -> None:
        """Appends one picture."""

    def close(self) -> None:
        """Ends the video."""

    async def flush(self) -> None:
        """Waits until all appended pictures are written."""


class _File(Mp4Writer):
    """Writes to a file, which accepts everything at once."""

    async def flush(self) -> None:
        """Returns at once: nothing is pending."""


def check_ends(image: Path, audio: str, out: str) -> int | None:
    """Checks both; returns the number of samples to come, if known.

    Raises:
        InputError: a file that cannot be read or written.
    """
    samples = None
    if audio == PIPE:
        _check_standard_input()
    elif not _is_pipe(audio):
        samples = inspect_audio(audio, note=tell).samples
    if out == PIPE:
        _check_standard_output()
        return samples
    check_target(out)
    for name, source in (("image", str(image)), ("audio", audio)):
        if source != PIPE and Path(out).exists() and Path(out).samefile(source):
            raise InputError("out", out, f"must not be the {name} file itself")
    return samples


def sendable(image: Path) -> bytes:
    """Returns the portrait in a gateway's format. Raises InputError if it is no picture."""
    return portrait_bytes(image, tell)


def open_writer(out: str, *, fps: int, size_hw: tuple[int, int], pcm_hz: int) -> Writer:
    """Opens a file, or standard output as an MPEG transport stream."""
    if out == PIPE:
        return PipedVideo(sys.stdout.buffer, fps=fps, size_hw=size_hw, pcm_hz=pcm_hz)
    return _File(out, fps=fps, size_hw=size_hw, pcm_hz=pcm_hz, encoded=True)


async def open_speech(audio: str) -> PipedSpeech | None:
    """Returns a pipe after its first data; ``None`` for a file.

    Raises:
        InputError: it cannot be read, or ends without data.
    """
    if audio != PIPE and not _is_pipe(audio):
        return None
    name = "standard input" if audio == PIPE else audio
    speech = PipedSpeech(name, lambda: _STDIN if audio == PIPE else os.open(audio, os.O_RDONLY))
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await speech.begin()
    except TimeoutError:
        tell(f"waiting for speech from {name}")
        await speech.begin()
    return speech


async def read_speech(audio: str, piped: PipedSpeech | None, pcm_hz: int) -> AsyncIterator[Pcm]:
    """Yields packets of float32 [S] of a file, or of a pipe from ``open_speech``."""
    if piped is None:
        for packet_S in stream_pcm(audio, pcm_hz):
            yield packet_S
        return
    async for packet_S in piped.packets(pcm_hz):
        yield packet_S


def _is_pipe(path: str) -> bool:
    """Whether it is a named pipe, such as the shell's ``<(command)``."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _check_standard_input() -> None:
    if sys.stdin is None:
        raise InputError("audio", PIPE, "standard input is closed")
    if os.isatty(_STDIN):
        raise InputError("audio", PIPE, "standard input is a terminal; pipe speech into it")


def _check_standard_output() -> None:
    if sys.stdout is None:
        raise InputError("out", PIPE, "standard output is closed")
    if sys.stdout.isatty():
        raise InputError("out", PIPE, "standard output is a terminal; pipe it into a player")
