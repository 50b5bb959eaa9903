"""A video for a player at the other end of a pipe, which may be slow, pause, or go away.

The event loop is never held up: while the player reads nothing, signals and the connection to the
gateway are served, and no more video is taken than it reads.

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
    """An MPEG transport stream, whose bytes wait here until ``flush``.

    Args:
        stream: a file, pipe or device, open for writing; stays open.
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
        """Ends the video; its last bytes still have to be flushed."""
        self._writer.close()

    async def flush(self) -> None:
        """Returns once everything is written.

        Raises:
            ReaderGoneError: nobody reads any more.
            InputError: no more can be written.
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
            # What can be written at all takes so many bytes without waiting (POSIX). The pipe is
            # left as it is for those who share it: a wait of theirs stays one.
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
    except PermissionError:  # files and some devices are always ready
        while view:
            view = view[os.write(number, view) :]
        return
    try:
        await done.wait()
    finally:
        loop.remove_writer(number)
    if failure is not None:
        raise failure
