"""Places decoded audio on the timeline of the file: gaps between frames become silence.

A recording over a bad line has gaps in its timestamps. Without the silence everything after a gap
would be shown too early. But timestamps are inexact: containers round them to milliseconds,
programs write the arrival time of a packet, concatenated files start again at 0. So a gap counts
only if the following frames confirm it, and no sample is ever dropped.

Time 0 of a Matroska or MP4 file is its beginning; in other formats it is the first packet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise

import av
from av.container import InputContainer

from flashtalk.errors import InputError
from flashtalk.media.notes import Note

Placed = av.AudioFrame | float
"""Sound, or seconds of silence."""

# Frames of speech codecs are 10 ms and longer; rounding and delays of a few ms are not gaps.
_STEP_S = 0.008
# Many small steps in one direction: the accumulated error is one picture.
_DRIFT_S = 0.04
_CONFIRMING_FRAMES, _LEAST_CONFIRMING = 5, 2
_LATEST_BEGIN_S = 10.0
_LONGEST_SILENCE_S = 3_600.0
_TOLD_S = 0.1
# Formats without a start time restart their clock; FFmpeg marks them.
_CLOCK_MAY_JUMP, _JUMP_S = 0x0200, 60.0
_BEGINS_AT_ZERO = ("matroska", "mov,mp4")


class Timeline:
    """Places the frames of one track on the timeline.

    Args:
        container: the container of the frames.
        value: name in errors.
        note: called with the length of inserted silence.

    Attributes:
        end_s: end of the audio so far, by the clock of the file.
    """

    def __init__(self, container: InputContainer, value: object, note: Note) -> None:
        self._value, self._note = value, note
        self._jumps = bool(container.format.flags & _CLOCK_MAY_JUMP)
        at_zero = container.format.name.startswith(_BEGINS_AT_ZERO)
        begin_s = 0.0 if at_zero else (container.start_time or 0) / av.time_base
        self.end_s, self._begun = begin_s, False
        self._late_before_s = self._silence_s = 0.0

    def place(self, frames: Iterable[av.AudioFrame]) -> Iterator[Placed]:
        """Yields the frames in order, and seconds of silence between them.

        Raises:
            InputError: gaps of more than an hour.
        """
        coming, waiting = iter(frames), deque[av.AudioFrame]()
        while frame := waiting.popleft() if waiting else next(coming, None):
            late_s = self._late_s(frame, self.end_s)
            if self._is_step(late_s, frame):
                while len(waiting) < _CONFIRMING_FRAMES and (more := next(coming, None)):
                    waiting.append(more)
                late_s = self._confirmed_s(late_s, frame, waiting)
                if late_s > 0 and not self._is_jump(late_s):
                    yield self._silence(late_s)
                self.end_s += late_s
                late_s = self._late_s(frame, self.end_s)
            self._late_before_s, self._begun = late_s, True
            yield frame
            self.end_s += frame.samples / frame.sample_rate

    def silence_until(self, end_s: float) -> float:
        """Returns the seconds of silence that are missing at the end."""
        return self._silence(end_s - self.end_s) if end_s > self.end_s else 0.0

    def tell(self) -> None:
        """Notes the length of inserted silence."""
        if self._silence_s > _TOLD_S:
            self._note(f"{self._silence_s:.2f} s of audio are missing; silence was inserted")

    def _late_s(self, frame: av.AudioFrame, end_s: float) -> float:
        """Returns how much later than ``end_s`` a frame begins."""
        return 0.0 if frame.time is None else frame.time - end_s

    def _is_step(self, late_s: float, frame: av.AudioFrame) -> bool:
        # Rounding to the clock of the container may go in either direction.
        least_s = max(_STEP_S, 1.5 * float(frame.time_base or 0))
        step_s = abs(late_s - self._late_before_s)
        return abs(late_s) > max(_DRIFT_S, least_s) or min(step_s, abs(late_s)) > least_s

    def _confirmed_s(
        self, late_s: float, frame: av.AudioFrame, following: Collection[av.AudioFrame]
    ) -> float:
        """Returns the gap that all frames confirm; 0 if one of them is not late."""
        if len(following) < _LEAST_CONFIRMING and abs(late_s) < _DRIFT_S:
            return 0.0  # at the end no frames follow that could confirm a small gap
        end_s, found_s = self.end_s, late_s
        for before, after in pairwise((frame, *following)):
            end_s += before.samples / before.sample_rate
            late_s = self._late_s(after, end_s)
            if late_s * found_s <= 0:
                return 0.0
            found_s = min(found_s, late_s, key=abs)
        return found_s

    def _is_jump(self, late_s: float) -> bool:
        """Whether the clock was reset, or did not begin at 0, so that there is no gap."""
        if not self._begun and late_s > _LATEST_BEGIN_S:
            self._note(f"the audio starts at {late_s:.0f} s; the time before it is skipped")
            return True
        if self._begun and self._jumps and late_s > _JUMP_S:
            self._note(f"timestamps jump by {late_s:.0f} s; the audio is joined without a gap")
            return True
        return False

    def _silence(self, seconds: float) -> float:
        self._silence_s += seconds
        if self._silence_s > _LONGEST_SILENCE_S:
            hole = f"{self._silence_s / 3_600:.1f} h of audio are missing"
            raise InputError("audio", self._value, f"{hole}; at most 1 h is replaced with silence")
        return seconds
