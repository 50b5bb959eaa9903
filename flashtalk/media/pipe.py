"""Pictures and sound as an MPEG transport stream, for a player at the other end of a pipe.

Legend: S samples.
"""

from __future__ import annotations

from typing import IO, Any

import av
import numpy as np
import numpy.typing as npt
from av.packet import Packet

from flashtalk.errors import InputError
from flashtalk.media.packets import access_unit, sound, sound_track, unit_track

Pcm = npt.NDArray[np.float32]


class PipeWriter:
    """Writes H.264 access units and their sound as they come; nothing is kept back for long.

    Args:
        sink: takes bytes.
        fps: frames per second.
        size_hw: height and width in pixels.
        pcm_hz: sampling rate of the sound.
    """

    def __init__(self, sink: IO[bytes], *, fps: int, size_hw: tuple[int, int], pcm_hz: int) -> None:
        self.fps, self.pcm_hz, self.frames = fps, pcm_hz, 0
        options = {"flush_packets": "1", "max_delay": "0", "muxdelay": "0"}
        container = av.open(sink, "w", format="mpegts", options=options)
        self._container: av.container.OutputContainer | None = container
        self._video = unit_track(container, fps, size_hw)
        self._audio = sound_track(container, pcm_hz)

    def write_encoded(self, video: bytes, pcm_S: Pcm, *, key_frame: bool) -> None:
        """Append one picture and its sound, as ``Mp4Writer.write_encoded``.

        Raises:
            InputError: nobody reads any more.
        """
        if self._container is None:
            raise InputError("out", "-", "already finished")
        packet = access_unit(video, self._video, self.frames, self.fps, key_frame=key_frame)
        heard = self._audio.encode(sound(pcm_S, self.frames, self.fps, self.pcm_hz))
        self._mux([packet, *heard])
        self.frames += 1

    def close(self) -> None:
        """Ends the stream; the sink stays open."""
        if self._container is None:
            return
        try:
            if self.frames:
                self._mux(self._audio.encode(None))
            self._container.close()
        except OSError:
            pass  # nobody reads any more
        finally:
            self._container = None

    def _mux(self, packets: list[Packet[Any]]) -> None:
        assert self._container is not None
        try:
            for packet in packets:
                self._container.mux(packet)
        except OSError as error:
            raise InputError("out", "-", f"nobody reads any more ({error.strerror})") from error
