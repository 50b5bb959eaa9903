"""Writes pictures and audio as an MPEG transport stream, for a player at the end of a pipe.

Legend: S samples.
"""

from __future__ import annotations

import io
import os
import select
from typing import IO, Any

import av
from av.packet import Packet

from flashtalk.arrays import Pcm
from flashtalk.errors import InputError, ReaderGoneError
from flashtalk.media.packets import access_unit, sound, sound_track, unit_track


class Sink:
    """The output of FFmpeg; stores the first error instead of raising it.

    PyAV prints an error that is raised inside FFmpeg's callback when a second one follows, or
    raises it from a later call.

    Args:
        stream: receives the bytes.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.error: OSError | ValueError | None = None

    def write(self, data: bytes) -> int:
        """Writes all bytes at once; ignores them after an error."""
        if self.error is None:
            try:
                _write_all(self._stream, data)
            except (OSError, ValueError) as error:
                self.error = error
        return len(data)

    def check(self) -> None:
        """Raises the stored error: ReaderGoneError if the reader is gone, else InputError."""
        if self.error is not None:
            raise sink_error(self.error) from self.error


def sink_error(error: OSError | ValueError) -> InputError:
    """Converts a failed write: ReaderGoneError if the reader is gone, else InputError."""
    if isinstance(error, ConnectionError):  # includes a broken pipe
        return ReaderGoneError("out", "-", "the reader has closed the pipe")
    reason = getattr(error, "strerror", None) or str(error)
    return InputError("out", "-", f"not writable ({reason})")


class PipeWriter:
    """Writes H.264 access units and their audio with low delay.

    Args:
        sink: receives the bytes.
        fps: frames per second.
        size_hw: height and width in pixels.
        pcm_hz: sampling rate of the audio.
    """

    def __init__(self, sink: IO[bytes], *, fps: int, size_hw: tuple[int, int], pcm_hz: int) -> None:
        self.fps, self.pcm_hz, self.frames = fps, pcm_hz, 0
        self._sink = Sink(sink)
        options = {"flush_packets": "1", "max_delay": "0"}
        container = av.open(self._sink, "w", format="mpegts", options=options)
        self._container: av.container.OutputContainer | None = container
        self._video = unit_track(container, fps, size_hw)
        self._audio = sound_track(container, pcm_hz)

    def write_encoded(self, video: bytes, pcm_S: Pcm, *, key_frame: bool) -> None:
        """Appends one picture and its audio, as ``Mp4Writer.write_encoded``.

        Raises:
            ReaderGoneError: the reader is gone.
            InputError: writing failed.
        """
        if self._container is None:
            raise InputError("out", "-", "already finished")
        packet = access_unit(video, self._video, self.frames, self.fps, key_frame=key_frame)
        heard = self._audio.encode(sound(pcm_S, self.frames, self.fps, self.pcm_hz))
        self._mux([packet, *heard])
        self._sink.check()
        self.frames += 1

    def close(self) -> None:
        """Ends the stream; the sink stays open.

        Raises:
            ReaderGoneError, InputError: as ``write_encoded``, unless that has raised it already.
        """
        container, self._container = self._container, None
        if container is None:
            return
        reported = self._sink.error is not None
        if self.frames:
            for packet in self._audio.encode(None):
                container.mux(packet)
        container.close()
        if not reported:
            self._sink.check()

    def _mux(self, packets: list[Packet[Any]]) -> None:
        assert self._container is not None
        for packet in packets:
            self._container.mux(packet)


def _write_all(stream: IO[bytes], data: bytes) -> None:
    """Writes without buffering, also if the other end has made the pipe non-blocking."""
    try:
        number = stream.fileno()
    except io.UnsupportedOperation:
        stream.write(data)
        return
    stream.flush()
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(number, view) :]
        except BlockingIOError:
            select.select([], [number], [])
