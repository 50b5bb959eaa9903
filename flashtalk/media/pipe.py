"""Pictures and sound as an MPEG transport stream, for a player at the other end of a pipe.

Legend: S samples.
"""

from __future__ import annotations

from fractions import Fraction
from typing import IO, Any

import av
import numpy as np
import numpy.typing as npt
from av.packet import Packet

from flashtalk.errors import InputError

Pcm = npt.NDArray[np.float32]
_AAC_BITS_PER_S = 64_000


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
        height, width = size_hw
        self._video = container.add_mux_stream("h264", rate=fps, width=width, height=height)
        self._video.time_base = Fraction(1, fps)
        self._audio = container.add_stream("aac", rate=pcm_hz, layout="mono")
        self._audio.bit_rate = _AAC_BITS_PER_S

    def write_encoded(self, video: bytes, pcm_S: Pcm, *, key_frame: bool) -> None:
        """Append one picture and its sound, as ``Mp4Writer.write_encoded``.

        Raises:
            InputError: nobody reads any more.
        """
        if self._container is None:
            raise InputError("out", "-", "already finished")
        packet: Packet[Any] = Packet(video)
        packet.stream, packet.time_base = self._video, Fraction(1, self.fps)
        packet.pts = packet.dts = self.frames
        packet.duration, packet.is_keyframe = 1, key_frame
        sound = av.AudioFrame.from_ndarray(
            pcm_S.clip(-1, 1).astype(np.float32)[None], format="flt", layout="mono"
        )
        sound.sample_rate, sound.time_base = self.pcm_hz, Fraction(1, self.pcm_hz)
        sound.pts = self.frames * (self.pcm_hz // self.fps)
        self._mux([packet, *self._audio.encode(sound)])
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
