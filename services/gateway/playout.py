"""When frames leave, and which of them have been seen: the one clock of a stream.

Under real-time pacing frame f is due at ``zero_s + f / fps``. A frame that is made too late moves
the clock: the picture stands still for a moment and nothing is skipped, so that sound and picture,
which travel in one message, cannot drift apart.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from flashtalk.v1 import stream_pb2


class PlayClock:
    """Due times of frames.

    Args:
        fps: frames per second.
        ahead_s: how much earlier than its time a frame may leave.
        paced: False lets frames leave at once.
        now_s: monotonic seconds.
    """

    def __init__(
        self, fps: int, ahead_s: float, *, paced: bool, now_s: Callable[[], float]
    ) -> None:
        self.fps, self.ahead_s, self.paced, self._now_s = fps, ahead_s, paced, now_s
        self._zero_s: float | None = None
        self._least_zero_s = -math.inf

    @property
    def started(self) -> bool:
        """Whether a frame has left or is expected."""
        return self._zero_s is not None or self._least_zero_s > -math.inf

    def due_s(self, frame: int) -> float:
        """When a frame is to be shown; as soon as it can be, if nothing is expected yet."""
        if not self.started:
            return self._now_s() + self.ahead_s
        zero_s = self._least_zero_s if self._zero_s is None else self._zero_s
        return zero_s + frame / self.fps

    def expect(self, frame: int, due_s: float) -> None:
        """Nothing has been shown yet, and ``frame`` is not to be shown before ``due_s``."""
        self._least_zero_s = due_s - frame / self.fps

    def leave(self, frame: int) -> float:
        """A frame leaves now; gives how late that is, in seconds."""
        now_s = self._now_s()
        if self._zero_s is None:
            self._zero_s = max(self._least_zero_s, now_s + self.ahead_s - frame / self.fps)
        late_s = max(0.0, now_s - self.due_s(frame))
        self._zero_s += late_s
        return late_s

    def wait_s(self, frame: int) -> float:
        """Seconds until a frame may leave."""
        if not self.paced or not self.started:
            return 0.0
        return self.due_s(frame) - self.ahead_s - self._now_s()

    def played(self, sent: int) -> int:
        """How many of ``sent`` frames have begun to be shown."""
        if not self.paced or self._zero_s is None:
            return sent
        begun = int((self._now_s() - self._zero_s) * self.fps) + 1
        return max(0, min(sent, begun))

    def rewind(self, frame: int) -> None:
        """Frame ``frame`` is the next to be shown: as soon as it can be."""
        if self._zero_s is not None:
            due_s = max(self._now_s(), self._zero_s + frame / self.fps)
            self._zero_s = due_s - frame / self.fps


@dataclass(frozen=True)
class _Item:
    response: stream_pb2.StreamResponse
    frame: int | None


class Outbox:
    """What waits to be sent on one stream: frames at their time, messages between them in order.

    Args:
        clock: says when a frame may leave.
        next_frame: the first frame that will be put.
        limit: frames that it holds; ``put`` waits beyond.
    """

    def __init__(self, clock: PlayClock, next_frame: int, limit: int) -> None:
        self.clock, self.limit = clock, limit
        self.sent_frames = next_frame
        self.late_s = 0.0
        self._items: deque[_Item] = deque()
        self._frames = 0
        self._changed = asyncio.Condition()
        self.version = 0

    @property
    def waiting_frames(self) -> int:
        """Frames that were put and not sent."""
        return self._frames

    async def put(self, response: stream_pb2.StreamResponse) -> None:
        """Append a message; one with a frame waits while there are too many."""
        is_frame = response.WhichOneof("message") == "frame"
        async with self._changed:
            if is_frame:
                await self._changed.wait_for(lambda: self._frames < self.limit)
                self._frames += 1
            frame = response.frame.frame_index if is_frame else None
            self._items.append(_Item(response, frame))
            self._notify()

    async def get(self, timeout_s: float) -> stream_pb2.StreamResponse | None:
        """The next message at its time; None when nothing left within ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                async with self._changed:
                    return await self._next()
        except TimeoutError:
            return None

    async def flush(self) -> None:
        """Forget the frames that wait and what was to be said between them."""
        async with self._changed:
            self._items.clear()
            self._frames = 0
            self._notify()

    async def rewind(self, frame: int) -> None:
        """After an interruption: frame ``frame`` comes next."""
        async with self._changed:
            self.sent_frames = frame
            self.clock.rewind(frame)
            self._notify()

    async def changed(self, version: int) -> None:
        """Wait until ``version`` is another: for the next message put, sent or taken away."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.version != version)

    async def empty(self) -> None:
        """Wait until everything has been sent."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._items)

    def _notify(self) -> None:
        self.version += 1
        self._changed.notify_all()

    async def _next(self) -> stream_pb2.StreamResponse:
        while True:
            await self._changed.wait_for(lambda: bool(self._items))
            item = self._items[0]
            wait_s = 0.0 if item.frame is None else self.clock.wait_s(item.frame)
            if wait_s <= 0:
                break
            try:
                # Not asleep blindly: an interruption takes the frame away.
                await asyncio.wait_for(self._changed.wait(), wait_s)
            except TimeoutError:
                continue
        self._items.popleft()
        if item.frame is not None:
            self._frames -= 1
            self.late_s = self.clock.leave(item.frame)
            self.sent_frames = item.frame + 1
        self._notify()
        return item.response
