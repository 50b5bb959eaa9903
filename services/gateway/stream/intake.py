"""Speech that has arrived and is not used yet: a bounded buffer with the ends of utterances in it.

Positions count samples over the whole session. Legend: S samples.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flashtalk.errors import InputError
from flashtalk.streaming import Pcm


@dataclass(frozen=True)
class Portion:
    """What is at the front of the buffer.

    Args:
        samples: up to the wanted number, and not beyond the end of an utterance.
        ended: an utterance ends right after them.
        open: an utterance has begun and its end has not arrived.
        begins: it is that utterance's beginning.
    """

    samples: int
    ended: bool
    open: bool
    begins: bool = False


@dataclass(frozen=True)
class Mark:
    """A place in what arrives: after this sample and after so many ends of utterances."""

    sample: int
    ends: int


class SpeechIntake:
    """The buffer of one session on one stream.

    Args:
        used: samples used for good before this stream.
        utterances: ends used for good before this stream.
        limit: samples that it holds; ``put`` waits beyond.
        begun: the samples used end in the middle of an utterance.
    """

    def __init__(self, used: int, utterances: int, limit: int, *, begun: bool = False) -> None:
        self.used, self.utterances, self.limit = used, utterances, limit
        self.finished = False
        self._packets: deque[Pcm] = deque()
        self._ends: deque[int] = deque()
        self._received = used
        self._spoken_to = used
        self._at_door = 0
        self._begun = begun
        self.version = 0
        self.on_change: Callable[[], None] | None = None
        """Called after each packet, end and drop, whoever waits for one."""
        self._changed = asyncio.Event()

    @property
    def received(self) -> int:
        """Position after the newest sample."""
        return self._received

    @property
    def buffered(self) -> int:
        """Samples that wait."""
        return max(0, self._received - self.used)

    @property
    def complete(self) -> bool:
        """Whether an utterance waits whose end has arrived."""
        return bool(self._ends) and self._ends[-1] > self.used

    async def put(self, pcm_S: Pcm, first_sample: int) -> None:
        """Append a packet; waits while the buffer is full.

        Raises:
            InputError: the packet does not follow the one before it, or comes after the end.
        """
        self._check_open("audio")
        if first_sample != self._received:
            limit = f"{self._received}, where the packet before it ended"
            raise InputError("audio.first_sample", first_sample, limit)
        if self.buffered >= self.limit:
            self._at_door = len(pcm_S)
            try:
                while self.buffered >= self.limit:
                    self._changed.clear()
                    await self._changed.wait()
            finally:
                self._at_door = 0
        # What was dropped while this packet waited at the door may end in the middle of it.
        late = max(0, min(self.used - self._received, len(pcm_S)))
        self._received += len(pcm_S)
        if late < len(pcm_S):
            self._packets.append(pcm_S[late:] if late else pcm_S)
        self._notify()

    async def end(self) -> None:
        """The utterance is complete. Raises InputError after the end of everything."""
        self._check_open("end_of_audio")
        self._ends.append(self._received)
        self._spoken_to = self._received
        self._notify()

    async def finish(self) -> None:
        """Nothing follows; what waits is an utterance that is complete."""
        self._check_open("finish")
        if self._received > self._spoken_to:
            self._ends.append(self._received)
            self._spoken_to = self._received
        self.finished = True
        self._notify()

    def front(self, wanted: int) -> Portion:
        """What could be taken now; an end with nothing before it is over and is counted."""
        while self._ends and self._ends[0] == self.used:
            self._ends.popleft()
            self.utterances += 1
            self._begun = False
        limit = self._ends[0] - self.used if self._ends else self.buffered
        samples = min(wanted, limit)
        ended = bool(self._ends) and samples == limit
        is_open = self._received > self._spoken_to
        begins = is_open and not ended and not self._begun and samples > 0
        return Portion(samples, ended, is_open, begins)

    def decides(self, wanted: int) -> bool:
        """Whether a chunk of so many samples is full, or an end says that no more belongs to it."""
        return self.finished or bool(self._ends) or self.buffered >= wanted

    async def take(self, portion: Portion, size: int, begin: int = 0) -> Pcm:
        """Remove a portion; its samples from ``begin`` on, zeros around them, float32 [size]."""
        pcm_S = np.zeros(size, np.float32)
        filled = 0
        while filled < portion.samples:
            packet_S = self._packets.popleft()
            part_S = packet_S[: portion.samples - filled]
            pcm_S[begin + filled :][: len(part_S)] = part_S
            filled += len(part_S)
            if len(part_S) < len(packet_S):
                self._packets.appendleft(packet_S[len(part_S) :])
        self.used += portion.samples
        self._begun = self._begun or portion.samples > 0
        if portion.ended:
            self._ends.popleft()
            self.utterances += 1
            self._begun = False
        self._notify()
        return pcm_S

    def mark(self) -> Mark:
        """The place behind all that has arrived, a packet that waits at the door included."""
        return Mark(self._received + self._at_door, self.utterances + len(self._ends))

    async def drop(self, mark: Mark) -> None:
        """Forget everything before a mark; what arrived after it stays."""
        self._skip(min(mark.sample, self._received) - self.used)
        # A packet at the door loses its part when it comes in.
        self.used = max(self.used, mark.sample)
        self._spoken_to = max(self._spoken_to, self.used)
        while self.utterances < mark.ends:
            self._ends.popleft()
            self.utterances += 1
        self._begun = False
        self._notify()

    def _skip(self, samples: int) -> None:
        while samples > 0:
            packet_S = self._packets.popleft()
            if len(packet_S) > samples:
                self._packets.appendleft(packet_S[samples:])
            samples -= len(packet_S)

    def _notify(self) -> None:
        self.version += 1
        self._changed.set()
        if self.on_change is not None:
            self.on_change()

    def _check_open(self, field: str) -> None:
        if self.finished:
            raise InputError(field, "after finish", "nothing may follow it")
