"""The send times of frames, and the number of frames shown: the only clock of a stream.

Under real-time pacing frame f is due at ``zero_s + f / fps``. A late frame shifts the clock: the
picture freezes for a moment and nothing is skipped, so that sound and picture, which are sent in
one message, cannot drift apart.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

from flashtalk.v1 import stream_pb2
from services.gateway.stream.outgoing import OutgoingFrame, as_response


class PlayClock:
    """Due times of frames.

    Args:
        fps: frames per second.
        ahead_s: time before its due time at which a frame may be sent.
        paced: False sends frames without delay.
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
        """Whether a frame was sent or is expected."""
        return self._zero_s is not None or self._least_zero_s > -math.inf

    def due_s(self, frame: int) -> float:
        """Returns the due time of a frame; now, if none is expected yet."""
        if not self.started:
            return self._now_s() + self.ahead_s
        zero_s = self._least_zero_s if self._zero_s is None else self._zero_s
        return zero_s + frame / self.fps

    def expect(self, frame: int, due_s: float) -> None:
        """Starts the clock: ``frame`` is the first one and is not shown before ``due_s``."""
        self._least_zero_s = due_s - frame / self.fps

    def leave(self, frame: int) -> float:
        """Records that a frame is sent; returns its lateness in seconds."""
        now_s = self._now_s()
        if self._zero_s is None:
            self._zero_s = max(self._least_zero_s, now_s + self.ahead_s - frame / self.fps)
        late_s = max(0.0, now_s - self.due_s(frame))
        self._zero_s += late_s
        return late_s

    def wait_s(self, frame: int) -> float:
        """Returns the seconds until a frame may be sent."""
        if not self.paced or not self.started:
            return 0.0
        return self.due_s(frame) - self.ahead_s - self._now_s()

    def played(self, sent: int) -> int:
        """Returns how many of ``sent`` frames have begun to be shown."""
        if not self.paced or self._zero_s is None:
            return sent
        begun = int((self._now_s() - self._zero_s) * self.fps) + 1
        return max(0, min(sent, begun))

    def rewind(self, frame: int) -> None:
        """Shifts the clock so that ``frame`` is due now."""
        if self._zero_s is not None:
            due_s = max(self._now_s(), self._zero_s + frame / self.fps)
            self._zero_s = due_s - frame / self.fps


_GROUP_BYTES = 512 * 1024
"""Maximum size of a group of frames: the default limit of clients is 4 MiB per message, and for
large pictures one message each costs little."""

_OF_FRAMES = frozenset({"chunk", "activity", "underrun"})
"""Messages that are dropped together with the frames they are about; all others are answers."""

_Item = OutgoingFrame | stream_pb2.StreamResponse


def _of_frames(item: _Item) -> bool:
    return isinstance(item, OutgoingFrame) or item.WhichOneof("message") in _OF_FRAMES


class Outbox:
    """The send queue of one stream: frames at their time, other messages between them in order.

    One task sends. Tasks are woken only if they can continue: wake-ups dominate the cost with
    hundreds of streams.

    Args:
        clock: gives the time at which a frame may be sent.
        next_frame: the first frame that will be put.
        limit: size in frames; ``put`` waits while the queue is full.
        together: limit of frames per message.

    Attributes:
        sent_frames: number of the first unsent frame.
        activity: activity at the newest frame that was put (``Activity.Kind``).
        late_s: lateness of the newest sent frames.
        left_chunks: for the last message that ``get`` returned, the chunk of each of its frames.
    """

    def __init__(self, clock: PlayClock, next_frame: int, limit: int, together: int = 1) -> None:
        self.clock, self.limit, self._together = clock, limit, together
        self.sent_frames = next_frame
        self.activity = 0
        self._sent_activity = 0
        self.late_s = 0.0
        self.left_chunks: list[int] = []
        self._items: deque[_Item] = deque()
        self._frames = 0
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._sender: asyncio.Future[None] | None = None

    @property
    def waiting_frames(self) -> int:
        """Returns the number of unsent frames."""
        return self._frames

    @property
    def next_frame(self) -> int:
        """Returns the number of the next frame to put."""
        return self.sent_frames + self._frames

    async def put(self, response: stream_pb2.StreamResponse) -> None:
        """Appends a message other than a frame."""
        self._append(response)

    async def put_activity(self, kind: int, frame: int) -> None:
        """Appends the activity from a frame on, if it changes there."""
        if kind != self.activity:
            self.activity = kind
            activity = stream_pb2.Activity(kind=kind, frame_index=frame)  # type: ignore[arg-type]
            self._append(stream_pb2.StreamResponse(activity=activity))

    async def put_frame(self, frame: OutgoingFrame) -> None:
        """Appends a frame; waits while the queue is full."""
        if self._frames >= self.limit:
            await self._until(lambda: self._frames < self.limit)
        self._frames += 1
        self._append(frame)

    async def get(self, timeout_s: float) -> stream_pb2.StreamResponse | None:
        """Returns the next message at its time; None if there is none within ``timeout_s``."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        while True:
            wait_s = self._head_wait_s()
            if wait_s <= 0:
                return self._leave()
            left_s = until_s - loop.time()
            if left_s <= 0:
                return None
            await self._doze(min(wait_s, left_s))

    def flush(self) -> None:
        """Drops queued frames and messages about them; answers stay."""
        self._items = deque(item for item in self._items if not _of_frames(item))
        self._frames = 0
        self.activity = self._sent_activity
        self._wake_sender()
        self._wake_waiting()

    def rewind(self, frame: int) -> None:
        """Continues with frame ``frame`` after an interruption."""
        self.sent_frames = frame
        self.clock.rewind(frame)
        self._wake_sender()

    async def below(self, frames: int) -> None:
        """Waits until at most that many frames are queued."""
        await self._until(lambda: self._frames <= frames)

    async def empty(self) -> None:
        """Waits until everything has been sent."""
        await self._until(lambda: not self._items)

    def _append(self, item: _Item) -> None:
        self._items.append(item)
        if len(self._items) == 1:
            self._wake_sender()

    def _head_wait_s(self) -> float:
        if not self._items:
            return math.inf
        head = self._items[0]
        return self.clock.wait_s(head.frame_index) if isinstance(head, OutgoingFrame) else 0.0

    def _leave(self) -> stream_pb2.StreamResponse:
        item = self._items.popleft()
        if isinstance(item, OutgoingFrame):
            self.late_s = self.clock.leave(item.frame_index)
            frames = self._with_companions(item)
            self.left_chunks = [frame.chunk_index for frame in frames]
            self._frames -= len(frames)
            self.sent_frames = item.frame_index + len(frames)
            item = as_response(frames)
        else:
            self.left_chunks = []
            if item.WhichOneof("message") == "activity":
                self._sent_activity = item.activity.kind
        self._wake_waiting()
        return item

    def _with_companions(self, first: OutgoingFrame) -> list[OutgoingFrame]:
        """Takes the queued frames to send with this one; never waits for more."""
        taken, size_bytes = [first], first.size_bytes
        while len(taken) < self._together and self._items:
            head = self._items[0]
            if not isinstance(head, OutgoingFrame):
                break
            size_bytes += head.size_bytes
            if size_bytes > _GROUP_BYTES:
                break
            self._items.popleft()
            taken.append(head)
        return taken

    async def _doze(self, seconds: float) -> None:
        """Waits until the time has passed or the first message changes."""
        loop = asyncio.get_running_loop()
        sender = self._sender = loop.create_future()
        alarm = loop.call_later(seconds, self._wake_sender)
        try:
            await sender
        finally:
            alarm.cancel()
            self._sender = None

    def _wake_sender(self) -> None:
        if self._sender is not None and not self._sender.done():
            self._sender.set_result(None)

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            entry = (holds, asyncio.get_running_loop().create_future())
            self._waiting.append(entry)
            try:
                await entry[1]
            finally:
                self._waiting.remove(entry)

    def _wake_waiting(self) -> None:
        for holds, waiter in self._waiting:
            if not waiter.done() and holds():
                waiter.set_result(None)
