"""Writes a video to a pipe, whose reader may be slow, pause, or close it.

The event loop is never blocked: while the player does not read, signals and the connection to the
gateway are served. Backpressure: no more video is taken than the player reads.

Legend: S samples.
"""

from __future__ import annotations

import asyncio
import io
import os
import select
from typing import IO

from flashtalk.media.pipe import PipeWriter, sink_error
from flashtalk.streaming import Pcm


class PipedVideo:
    """An MPEG transport stream that is buffered until ``flush``.

    Args:
        stream: a file, pipe or device, open for writing; it is not closed.
        fps: frames per second.
        size_hw: height and width in pixels.
        pcm_hz: sampling rate of the sound.
    """

    def __init__(
        self, stream: IO[bytes], *, fps: int, size_hw: tuple[int, int], pcm_hz: int
    ) -> None:
        stream.flush()
        self._number, self._waiting = stream.fileno(), io.BytesIO()
        self._writer = PipeWriter(self._waiting, fps=fps, size_hw=size_hw, pcm_hz=pcm_hz)

    def write_encoded(self, video: bytes, pcm_S: Pcm, *, key_frame: bool) -> None:
        """Appends one picture and its sound, as ``Mp4Writer.write_encoded``."""
        self._writer.write_encoded(video, pcm_S, key_frame=key_frame)

    def close(self) -> None:
        """Ends the video; its last bytes still need a flush."""
        self._writer.close()

    async def flush(self) -> None:
        """Writes all buffered bytes.

        Raises:
            ReaderGoneError: the reader has closed it.
            InputError: writing failed.
        """
        data = self._waiting.getvalue()
        self._waiting.seek(0)
        self._waiting.truncate()
        try:
            if data:
                await _write_all(self._number, data)
        except OSError as error:
            raise sink_error(error) from error


async def _write_all(number: int, data: bytes) -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    view, failure = memoryview(data), None

    def write() -> None:
        nonlocal view, failure
        try:
            # A ready pipe accepts this many bytes without blocking (POSIX). Its mode is not changed
            # for other users of the pipe, which may rely on blocking.
            view = view[os.write(number, view[: select.PIPE_BUF]) :]
        except BlockingIOError:
            return
        except OSError as error:
            failure = error
        if failure is not None or not view:
            loop.remove_writer(number)
            done.set()

    try:
        loop.add_writer(number, write)
    except PermissionError:  # files and some devices are always ready for writing
        while view:
            view = view[os.write(number, view) :]
        return
    try:
        await done.wait()
    finally:
        loop.remove_writer(number)
    if failure is not None:
        raise failure
