"""Received speech that is not used yet: a bounded buffer that also stores ends of utterances.

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
    """The front of the buffer.

    Args:
        samples: up to the wanted number, within one utterance.
        ended: an utterance ends after them.
        open: an utterance has begun and its end has not arrived.
        begins: they begin that utterance.
    """

    samples: int
    ended: bool
    open: bool
    begins: bool = False


@dataclass(frozen=True)
class Mark:
    """A position in the input: a sample, and the number of ended utterances."""

    sample: int
    ends: int


class SpeechIntake:
    """The input buffer of one stream.

    Args:
        used: number of samples used before this stream.
        utterances: number of ended utterances before this stream.
        limit: size in samples; ``put`` waits while the buffer is full.
        begun: the used samples end inside an utterance.
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
        """Called after each packet, end and drop."""
        self._changed = asyncio.Event()

    @property
    def received(self) -> int:
        """Returns the position after the newest sample."""
        return self._received

    @property
    def buffered(self) -> int:
        """Returns the number of buffered samples."""
        return max(0, self._received - self.used)

    @property
    def complete(self) -> bool:
        """Whether a complete utterance is buffered."""
        return bool(self._ends) and self._ends[-1] > self.used

    async def put(self, pcm_S: Pcm, first_sample: int) -> None:
        """Appends a packet; waits while the buffer is full.

        Raises:
            InputError: the packet does not follow the previous one, or comes after the finish.
        """
        self._check_open("audio")
        if first_sample != self._received:
            limit = f"must be {self._received}, the end of the previous packet"
            raise InputError("audio.first_sample", first_sample, limit)
        if self.buffered >= self.limit:
            self._at_door = len(pcm_S)
            try:
                while self.buffered >= self.limit:
                    self._changed.clear()
                    await self._changed.wait()
            finally:
                self._at_door = 0
        # A drop while this packet waited for space may end inside it.
        late = max(0, min(self.used - self._received, len(pcm_S)))
        self._received += len(pcm_S)
        if late < len(pcm_S):
            self._packets.append(pcm_S[late:] if late else pcm_S)
        self._notify()

    async def end(self) -> None:
        """Ends the utterance. Raises InputError after the finish."""
        self._check_open("end_of_audio")
        self._ends.append(self._received)
        self._spoken_to = self._received
        self._notify()

    async def finish(self) -> None:
        """Ends the input; buffered speech becomes a complete utterance."""
        self._check_open("finish")
        if self._received > self._spoken_to:
            self._ends.append(self._received)
            self._spoken_to = self._received
        self.finished = True
        self._notify()

    def front(self, wanted: int) -> Portion:
        """Returns the portion that can be taken now; counts an end without samples before it."""
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
        """Whether the buffer can fill a chunk, or an end limits the chunk."""
        return self.finished or bool(self._ends) or self.buffered >= wanted

    async def take(self, portion: Portion, size: int, begin: int = 0) -> Pcm:
        """Removes a portion; returns its samples from ``begin`` on, zero-padded, float32 [size]."""
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
        """Returns the position after all input, including a packet that waits for space."""
        return Mark(self._received + self._at_door, self.utterances + len(self._ends))

    async def drop(self, mark: Mark) -> None:
        """Drops everything before a mark; later input is kept."""
        self._skip(min(mark.sample, self._received) - self.used)
        # A packet that waits for space loses its part when it is appended.
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
            raise InputError(field, "after finish", "no message may follow finish")
