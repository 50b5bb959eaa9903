"""Decodes an open container to mono samples: timeline, channels, rate.

Legend: C channels, S samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from flashtalk.arrays import Pcm
from flashtalk.errors import InputError
from flashtalk.media.edit_list import Edits
from flashtalk.media.edited import EditedFrames
from flashtalk.media.mixdown import Mixdown, samples_of
from flashtalk.media.notes import Note
from flashtalk.media.riff import CUT_OFF_S, is_made_up
from flashtalk.media.timeline import Placed, Timeline
from flashtalk.media.tracks import TrackFrames

# Formats whose header states the exact length, so that a shorter file is truncated.
_EXACT_LENGTH = frozenset({"flac", "aiff", "caf", "mov,mp4,m4a,3gp,3g2,mj2"})
_SILENCE_BLOCK_S = 1


@dataclass
class Input:
    """A file or stream being decoded.

    Args:
        value: name in errors.
        pcm_hz: rate to convert to.
        note: called with problems.
        keeps_going: whether truncation is only noted, not an error.
        samples: number of samples so far.
        peak: largest magnitude so far.
    """

    value: object
    pcm_hz: int
    note: Note
    keeps_going: bool = False
    samples: int = 0
    peak: float = 0.0

    def cut_off(self, how: str) -> None:
        """Reports truncated input. Raises InputError unless ``keeps_going``."""
        if not self.keeps_going:
            raise InputError("audio", self.value, f"truncated: {how}")
        self.note(f"truncated: {how}")


def track_pcm(
    container: InputContainer, track: AudioStream, source: Input, edits: Edits = ()
) -> Iterator[Pcm]:
    """Decodes one track to float32 [S] mono packets at ``source.pcm_hz``, never empty.

    Args:
        container: positioned at its beginning.
        track: one of its tracks.
        source: the input and its settings.
        edits: edit list to apply; the container does not apply it (see ``EditedFrames``).

    Raises:
        InputError: samples that are not finite, or as ``stream_pcm``.
    """
    frames = (
        EditedFrames(container, track, source.value, edits)
        if edits
        else TrackFrames(container, track, source.value)
    )
    timeline = Timeline(container, source.value, source.note)
    line = _Line(source.pcm_hz, source.value)
    begun = source.samples
    for placed in timeline.place(frames):
        yield from _counted(line.push(placed), source)
    declared_s = (
        frames.duration_s
        if isinstance(frames, EditedFrames)
        else float((track.duration or 0) * (track.time_base or 0))
    )
    # A file with all its packets is complete, whatever data is between and after them.
    behind = container.format.name in _EXACT_LENGTH and source.samples > begun
    if behind and frames.end_s > timeline.end_s + CUT_OFF_S:
        yield from _counted(line.push(timeline.silence_until(frames.end_s)), source)
    yield from _counted(line.flush(), source)
    timeline.tell()
    heard_s = (source.samples - begun) / source.pcm_hz
    # If all packets are present but none can be decoded, another track may be better.
    held_s = heard_s if source.samples > begun else frames.end_s
    if container.format.name in _EXACT_LENGTH and declared_s > held_s + CUT_OFF_S:
        how = f"header gives {declared_s:.2f} s, file contains {heard_s:.2f} s"
        if is_made_up(declared_s, heard_s):
            source.note(how)
        else:
            source.cut_off(how)


def _counted(packets: Iterator[Pcm], source: Input) -> Iterator[Pcm]:
    for pcm_S in packets:
        if len(pcm_S):
            source.samples += len(pcm_S)
            source.peak = max(source.peak, float(np.abs(pcm_S).max()))
            yield pcm_S


class _Line:
    """Converts audio of any format, and silence, to mono at one rate."""

    def __init__(self, pcm_hz: int, value: object) -> None:
        self._pcm_hz, self._value = pcm_hz, value
        # A file that begins with silence has no format yet; any is correct.
        self._kind = (1, pcm_hz)
        self._mixdown = Mixdown(1, pcm_hz)
        self._resampler: AudioResampler | None = None

    def push(self, placed: Placed) -> Iterator[Pcm]:
        """Converts a frame, or seconds of silence."""
        if isinstance(placed, av.AudioFrame):
            kind = (placed.layout.nb_channels, placed.sample_rate)
            if kind != self._kind:
                # The format may change within a file (chained ogg): flush the old one first.
                yield from self.flush()
                self._begin(*kind)
            pcm_CS = samples_of(placed)
            if not np.isfinite(pcm_CS).all():
                raise InputError("audio", self._value, "contains NaN or infinite samples")
            yield from self._converted(self._mixdown.push(pcm_CS))
            return
        channels, hz = self._kind
        left = round(placed * hz)
        while left > 0:
            size = min(left, _SILENCE_BLOCK_S * hz)
            yield from self._converted(self._mixdown.push(np.zeros((channels, size), np.float32)))
            left -= size

    def flush(self) -> Iterator[Pcm]:
        """Yields buffered samples."""
        yield from self._converted(self._mixdown.flush())
        if self._resampler is not None:
            yield from _arrays(self._resampler.resample(None))
            self._resampler = None

    def _begin(self, channels: int, hz: int) -> None:
        self._kind = (channels, hz)
        self._mixdown = Mixdown(channels, hz)

    def _converted(self, packets: Iterator[Pcm]) -> Iterator[Pcm]:
        hz = self._kind[1]
        for pcm_S in packets:
            if hz == self._pcm_hz:
                yield pcm_S
                continue
            if self._resampler is None:
                self._resampler = AudioResampler("flt", "mono", self._pcm_hz)
            frame = av.AudioFrame.from_ndarray(pcm_S[None], "flt", "mono")
            frame.sample_rate = hz
            yield from _arrays(self._resampler.resample(frame))


def _arrays(frames: list[av.AudioFrame]) -> Iterator[Pcm]:
    for frame in frames:
        yield samples_of(frame)[0]
