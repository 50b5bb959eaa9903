"""The lead of a chunk: how long before its due time it must begin, measured per chunk.

The decoder returns frames one after the other, and each may be a frame's time later than the frame
before, so the latest frame relative to its due time decides. A player that shows a chunk's first
frame ``seconds`` after the chunk began never waits for a later frame.
"""

from __future__ import annotations

from collections.abc import Callable

JITTER_FRAMES = 3
"""Speech that is late by up to this number of frames is still in time."""

_SMOOTHING = 0.3
_MARGIN = 1.15
_MARGIN_S = 0.05


class Lead:
    """The lead of one stream's chunks.

    Args:
        fps: frames per second.
        first_s: estimate before the first chunk.
        now_s: monotonic seconds.
    """

    def __init__(self, fps: int, first_s: float, now_s: Callable[[], float]) -> None:
        self._fps, self._now_s = fps, now_s
        self._smoothed_s = first_s
        self._begun_s = 0.0
        self._need_s = 0.0

    @property
    def seconds(self) -> float:
        """Returns the lead, with a margin for slower chunks."""
        return self._smoothed_s * _MARGIN + _MARGIN_S

    def begin(self) -> None:
        """Starts the measurement of a chunk."""
        self._begun_s, self._need_s = self._now_s(), 0.0

    def frame(self, index: int) -> None:
        """Records that frame ``index`` is available."""
        self._need_s = max(self._need_s, self._now_s() - self._begun_s - index / self._fps)

    def end(self) -> None:
        """Ends the measurement: all frames are available."""
        if self._need_s:
            self._smoothed_s += _SMOOTHING * (self._need_s - self._smoothed_s)
