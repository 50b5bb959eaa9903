"""How long before its time a chunk has to be begun: measured, chunk by chunk.

Frames leave the decoder one after the other, each a frame's time after the one before is soon
enough: what counts is the frame that would be the latest. A player that shows a chunk's first frame
``seconds`` after the chunk was begun never waits for one of the others.
"""

from __future__ import annotations

from collections.abc import Callable

JITTER_FRAMES = 3
"""Speech that comes so much later than its time is still in time."""

_SMOOTHING = 0.3
_MARGIN = 1.15
_MARGIN_S = 0.05


class Lead:
    """The lead of one stream's chunks.

    Args:
        fps: frames per second.
        first_s: guess before the first chunk.
        now_s: monotonic seconds.
    """

    def __init__(self, fps: int, first_s: float, now_s: Callable[[], float]) -> None:
        self._fps, self._now_s = fps, now_s
        self._smoothed_s = first_s
        self._begun_s = 0.0
        self._need_s = 0.0

    @property
    def seconds(self) -> float:
        """With a margin for chunks that take a little longer."""
        return self._smoothed_s * _MARGIN + _MARGIN_S

    def begin(self) -> None:
        """A chunk is begun now."""
        self._begun_s, self._need_s = self._now_s(), 0.0

    def frame(self, index: int) -> None:
        """Its frame ``index`` could be shown now."""
        self._need_s = max(self._need_s, self._now_s() - self._begun_s - index / self._fps)

    def end(self) -> None:
        """All its frames were there."""
        if self._need_s:
            self._smoothed_s += _SMOOTHING * (self._need_s - self._smoothed_s)
