"""The frames of a track in the order of its edit list, with presentation timestamps."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from flashtalk.media.edit_list import Edit, Edits
from flashtalk.media.mixdown import samples_of
from flashtalk.media.tracks import TrackFrames

OPTIONS = {"ignore_editlist": "1"}
"""The container must be opened with these."""
# A decoder needs preceding data: one frame of AAC, 80 ms of Opus.
_PREROLL_S = Fraction(1, 10)


class EditedFrames:
    """Yields frames like ``Frames``, in the order of the edit list; none for an empty edit.

    Args:
        container: opened with ``OPTIONS``; seekable.
        track: one of its tracks.
        value: name of the file in errors.
        edits: edit list of that track.

    Attributes:
        end_s: end of the last edit that was read.
    """

    def __init__(
        self, container: InputContainer, track: AudioStream, value: object, edits: Edits
    ) -> None:
        self._container, self._track, self._value = container, track, value
        self._edits = edits
        self.end_s = 0.0

    @property
    def duration_s(self) -> float:
        """Duration of the edit list; an edit without a duration counts as zero."""
        return float(sum((edit.duration_s or Fraction(0)) for edit in self._edits))

    def __iter__(self) -> Iterator[av.AudioFrame]:
        """Yields the frames. Raises InputError for an invalid sampling rate."""
        begin_s = Fraction(0)
        for edit in self._edits:
            end_s = begin_s
            if edit.media_s is None:
                self.end_s = float(begin_s + (edit.duration_s or 0))
            else:
                for frame in self._part(edit, edit.media_s, begin_s):
                    end_s = _time_s(frame) + Fraction(frame.samples, frame.sample_rate)
                    self.end_s = float(end_s)
                    yield frame
            begin_s = end_s if edit.duration_s is None else begin_s + edit.duration_s

    def _part(self, edit: Edit, media_s: Fraction, begin_s: Fraction) -> Iterator[av.AudioFrame]:
        ticks_per_s = 1 / Fraction(self._track.time_base or 1)
        self._container.seek(
            int(max(media_s - _PREROLL_S, Fraction(0)) * ticks_per_s), stream=self._track
        )
        for frame in TrackFrames(self._container, self._track, self._value):
            if frame.pts is None or frame.time_base is None:
                continue
            late_s = _time_s(frame) - media_s
            first = max(round(-late_s * frame.sample_rate), 0)
            last = frame.samples
            if edit.duration_s is not None:
                last = min(round((edit.duration_s - late_s) * frame.sample_rate), last)
                if last <= 0:
                    break
            if first < last:
                at_s = begin_s + late_s + Fraction(first, frame.sample_rate)
                yield _stamped(_cut(frame, first, last), at_s)


def _time_s(frame: av.AudioFrame) -> Fraction:
    return Fraction(frame.pts or 0) * Fraction(frame.time_base or 0)


def _cut(frame: av.AudioFrame, first: int, last: int) -> av.AudioFrame:
    if (first, last) == (0, frame.samples):
        return frame
    pcm_CS = samples_of(frame)[:, first:last].copy()
    cut = av.AudioFrame.from_ndarray(pcm_CS, format="fltp", layout=frame.layout)
    cut.sample_rate = frame.sample_rate
    return cut


def _stamped(frame: av.AudioFrame, at_s: Fraction) -> av.AudioFrame:
    frame.time_base = Fraction(1, frame.sample_rate)
    frame.pts = round(at_s * frame.sample_rate)
    return frame
