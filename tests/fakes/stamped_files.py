"""Sound files whose packets are left out, moved in time, or spoilt."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.packet import Packet

from flashtalk.arrays import Pcm

Stamp = Callable[[int, float], float | None]
"""From number and time of a packet to its new time in seconds; None leaves it out."""


def stamped(
    path: Path,
    codec: str,
    pcm_S: Pcm,
    pcm_hz: int,
    stamp: Stamp,
    *,
    last_s: float | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write mono sound; times never go back, for no container can store that.

    Args:
        last_s: how long the last packet says it is.
        options: of the container.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        track = container.add_stream(codec, rate=pcm_hz, layout="mono")
        assert isinstance(track, AudioStream)
        packets = _encoded(track, pcm_S, pcm_hz)
        newest_s = -1.0
        for number, packet in enumerate(packets):
            assert packet.pts is not None
            assert packet.time_base is not None
            time_s = stamp(number, float(packet.pts * packet.time_base))
            if time_s is None:
                continue
            newest_s = max(time_s, newest_s + 0.0011)
            packet.pts = packet.dts = round(newest_s / packet.time_base)
            if last_s is not None and number == len(packets) - 1:
                packet.duration = round(last_s / packet.time_base)
            container.mux(packet)
    return path


def tracks(path: Path, sounds: list[tuple[str, Pcm]], pcm_hz: int) -> Path:
    """Write several mono tracks, each a codec and its sound."""
    with av.open(str(path), "w") as container:
        made = [container.add_stream(codec, rate=pcm_hz, layout="mono") for codec, _ in sounds]
        for track, (_, pcm_S) in zip(made, sounds, strict=True):
            assert isinstance(track, AudioStream)
            for packet in _encoded(track, pcm_S, pcm_hz):
                container.mux(packet)
    return path


def spoilt(path: Path, track: int) -> Path:
    """Overwrite every packet of a track with ones."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.stream_index == track and packet.size and packet.pos is not None:
                data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(data)
    return path


class Dripping:
    """A pipe: gives what is asked for in small pieces, and counts them.

    Args:
        data: all that comes through it.
        piece_bytes: at most so many at once.
    """

    def __init__(self, data: bytes, piece_bytes: int = 1_000) -> None:
        self._source, self._piece_bytes = io.BytesIO(data), piece_bytes
        self.given = 0

    def read(self, size: int, /) -> bytes:
        """The next bytes."""
        piece = self._source.read(min(size, self._piece_bytes))
        self.given += len(piece)
        return piece


def _encoded(track: AudioStream, pcm_S: Pcm, pcm_hz: int) -> list[Packet[AudioStream]]:
    packets: list[Packet[AudioStream]] = []
    for first in range(0, len(pcm_S), 1_024):
        part = np.ascontiguousarray(pcm_S[None, first : first + 1_024])
        frame = av.AudioFrame.from_ndarray(part, "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = pcm_hz, first, Fraction(1, pcm_hz)
        packets += track.encode(frame)
    return [*packets, *track.encode(None)]
