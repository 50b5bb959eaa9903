"""Reads speech from a pipe without blocking the event loop.

A thread reads and decodes: that works for pipes, files and devices, and does not change the mode of
a shared pipe. It is a daemon thread, so that a pipe without a writer does not keep a program from
ending.

Legend: S samples.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import AsyncIterator, Callable, Iterator

from flashtalk.errors import InputError
from flashtalk.media import SNIFFED_BYTES, container_of, decode_stream
from flashtalk.streaming import Pcm
from flashtalk.terminal import tell
from flashtalk.v1 import media_pb2
from flashtalk.wire import pcm_from_bytes

_READ_BYTES = 6_400
_AHEAD = 16  # packets


class PipedSpeech:
    """A sound file of any format from a pipe, or samples without a header.

    Args:
        name: its name in errors.
        open_number: returns the number of an open file; may wait for a writer.
    """

    def __init__(self, name: str, open_number: Callable[[], int]) -> None:
        self.name = name
        self._open = open_number
        self._loop = asyncio.get_running_loop()
        self._begun = asyncio.Event()
        self._arrived: asyncio.Queue[Pcm | Exception | None] = asyncio.Queue()
        self._room, self._wanted = threading.Semaphore(_AHEAD), threading.Event()
        self._pcm_hz = 0
        threading.Thread(target=self._work, daemon=True, name=f"read {name}").start()

    async def begin(self) -> None:
        """Waits for the first data or the end. A cancellation loses nothing."""
        await self._begun.wait()
        if self._failure is not None:
            raise self._failure

    async def packets(self, pcm_hz: int) -> AsyncIterator[Pcm]:
        """Yields float32 [S], never empty.

        Args:
            pcm_hz: rate to convert to; assumed for samples without a header.

        Raises:
            InputError: it cannot be read or decoded.
        """
        self._pcm_hz = pcm_hz
        self._wanted.set()
        while (packet := await self._arrived.get()) is not None:
            self._room.release()
            if isinstance(packet, Exception):
                raise packet
            yield packet

    def _work(self) -> None:
        try:
            reader = _Reader(self._open())
            first_bytes = b""
            while len(first_bytes) < SNIFFED_BYTES and (data := reader.read(_READ_BYTES)):
                first_bytes += data
            if len(first_bytes) < 2:
                raise InputError("audio", self.name, "contains no audio")
        except OSError as error:
            self._fail(InputError("audio", self.name, f"not readable ({error.strerror})"))
            return
        except InputError as error:
            self._fail(error)
            return
        self._send(self._begun.set)
        self._wanted.wait()
        try:
            for packet_S in self._decoded(reader, first_bytes):
                self._put(packet_S)
            self._put(None)
        except OSError as error:
            self._put(InputError("audio", self.name, f"not readable ({error.strerror})"))
        except Exception as error:
            self._put(error)

    _failure: InputError | None = None

    def _fail(self, error: InputError) -> None:
        self._failure = error
        self._send(self._begun.set)

    def _put(self, packet: Pcm | Exception | None) -> None:
        self._room.acquire()
        self._send(lambda: self._arrived.put_nowait(packet))

    def _send(self, what: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:
            # The loop is closed: nothing more is needed. This daemon thread reads no further.
            threading.Event().wait()

    def _decoded(self, reader: _Reader, first_bytes: bytes) -> Iterator[Pcm]:
        if container_of(first_bytes) is None:
            return self._samples(reader, first_bytes)
        return decode_stream(reader, self.name, self._pcm_hz, tell, first_bytes=first_bytes)

    def _samples(self, reader: _Reader, data: bytes) -> Iterator[Pcm]:
        """Decodes 16 bit samples of one channel, without a header."""
        rest = b""
        while data:
            joined = rest + data
            whole = len(joined) // 2 * 2
            rest = joined[whole:]
            if whole:
                yield pcm_from_bytes(joined[:whole], media_pb2.AUDIO_ENCODING_PCM_S16LE, "audio")
            data = reader.read(_READ_BYTES)
        if rest:
            tell(f"audio: {self.name}: ends within a sample; ignoring the last byte")


class _Reader:
    """Reads available bytes, waits for the first byte."""

    def __init__(self, number: int) -> None:
        self._number = number

    def read(self, size: int, /) -> bytes:
        """Returns at most that many bytes; none at the end."""
        while True:
            try:
                return os.read(self._number, size)
            except BlockingIOError:
                # Another process has set the shared pipe to non-blocking mode.
                select.select([self._number], [], [])
