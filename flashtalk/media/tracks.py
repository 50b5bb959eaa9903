"""Selects the audio track of a file, the best one that can be decoded, and yields its frames."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition

from flashtalk.errors import InputError
from flashtalk.media.notes import Note

SAMPLING_RATES_HZ = (4_000, 384_000)


def decodable_tracks(container: InputContainer, value: object) -> list[AudioStream]:
    """Returns the audio tracks with an available decoder, the best one first.

    Args:
        container: the opened file.
        value: name of the file in errors.

    Raises:
        InputError: there is none.
    """
    if not container.streams.audio:
        raise InputError("audio", value, "contains no audio")
    best = container.streams.best("audio")
    tracks = [track for track in container.streams.audio if _has_decoder(track)]
    if not tracks:
        raise InputError("audio", value, "contains no audio that can be decoded")
    tracks.sort(key=lambda track: (track is not best, not _is_default(track), track.index))
    return tracks


def note_passed_over(container: InputContainer, track: AudioStream, note: Note) -> None:
    """Notes that the used track is not the best one, if so."""
    best = container.streams.best("audio")
    if best is not None and best.index != track.index:
        note(f"track {best.index} cannot be decoded; using track {track.index}")


class TrackFrames:
    """Yields the frames of a track in file order, without packets that cannot be decoded.

    Args:
        container: positioned at its beginning.
        track: one of its tracks.
        value: name of the file in errors.

    Attributes:
        end_s: end of the last packet, decoded or not, by the clock of the file.
    """

    def __init__(self, container: InputContainer, track: AudioStream, value: object) -> None:
        self._container, self._track, self._value = container, track, value
        self.end_s = 0.0

    def __iter__(self) -> Iterator[av.AudioFrame]:
        """Yields the frames. Raises InputError for an invalid sampling rate."""
        for packet in self._container.demux(self._track):
            if packet.pts is not None and packet.time_base is not None:
                end_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                self.end_s = max(self.end_s, end_s)
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            for frame in frames:
                if frame.samples:
                    check_rate(frame.sample_rate, self._value)
                    yield frame


def check_rate(pcm_hz: int, value: object) -> None:
    """Checks the sampling rate. Raises InputError for an invalid one."""
    least_hz, most_hz = SAMPLING_RATES_HZ
    if not least_hz <= pcm_hz <= most_hz:
        stated = f"sampling rate {pcm_hz} Hz" if pcm_hz > 0 else "no sampling rate"
        raise InputError("audio", value, f"{stated}; must be {least_hz} to {most_hz} Hz")


def _has_decoder(track: AudioStream) -> bool:
    # PyAV has no context for a track without a decoder, although its type says so.
    context: object = track.codec_context
    return context is not None and bool(track.codec_context.sample_rate)


def _is_default(track: AudioStream) -> bool:
    return bool(track.disposition & Disposition.default)
