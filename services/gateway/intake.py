"""Speech that has arrived and is not used yet: a bounded buffer with the ends of utterances in it.

Positions count samples over the whole session. Legend: S samples.
"""

from __future__ import annotations

import asyncio
from collections import deque
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
    """

    samples: int
    ended: bool
    open: bool


class SpeechIntake:
    """The buffer of one session on one stream.

    Args:
        used: samples used for good before this stream.
        utterances: ends used for good before this stream.
        limit: samples that it holds; ``put`` waits beyond.
    """

    def __init__(self, used: int, utterances: int, limit: int) -> None:
        self.used, self.utterances, self.limit = used, utterances, limit
        self.finished = False
        self._packets: deque[Pcm] = deque()
        self._ends: deque[int] = deque()
        self._received = used
        self._spoken_to = used
        self._drops = 0
        self.version = 0
        self._room = asyncio.Condition()

    @property
    def received(self) -> int:
        """Position after the newest sample."""
        return self._received

    @property
    def buffered(self) -> int:
        """Samples that wait."""
        return self._received - self.used

    async def put(self, pcm_S: Pcm, first_sample: int) -> None:
        """Append a packet; waits while the buffer is full.

        Raises:
            InputError: the packet does not follow the one before it, or comes after the end.
        """
        async with self._room:
            self._check_open("audio")
            if first_sample != self._received:
                limit = f"{self._received}, where the packet before it ended"
                raise InputError("audio.first_sample", first_sample, limit)
            drops = self._drops
            await self._room.wait_for(lambda: self.buffered < self.limit)
            self._received += len(pcm_S)
            if drops != self._drops:
                # An interruption came while this packet waited at the door: it is part of the past.
                self.used = self._spoken_to = self._received
            else:
                self._packets.append(pcm_S)
            self._notify()

    async def end(self) -> None:
        """The utterance is complete. Raises InputError after the end of everything."""
        async with self._room:
            self._check_open("end_of_audio")
            self._ends.append(self._received)
            self._spoken_to = self._received
            self._notify()

    async def finish(self) -> None:
        """Nothing follows; what waits is an utterance that is complete."""
        async with self._room:
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
        limit = self._ends[0] - self.used if self._ends else self.buffered
        samples = min(wanted, limit)
        ended = bool(self._ends) and samples == limit
        return Portion(samples, ended, self._received > self._spoken_to)

    async def take(self, portion: Portion, size: int) -> Pcm:
        """Remove a portion; its samples, zeros behind them, float32 [size]."""
        pcm_S = np.zeros(size, np.float32)
        filled = 0
        async with self._room:
            while filled < portion.samples:
                packet_S = self._packets.popleft()
                part_S = packet_S[: portion.samples - filled]
                pcm_S[filled : filled + len(part_S)] = part_S
                filled += len(part_S)
                if len(part_S) < len(packet_S):
                    self._packets.appendleft(packet_S[len(part_S) :])
            self.used += portion.samples
            if portion.ended:
                self._ends.popleft()
                self.utterances += 1
            self._notify()
        return pcm_S

    async def drop(self) -> int:
        """Forget everything that waits; gives the number of samples."""
        async with self._room:
            dropped = self.buffered
            self._drops += 1
            self._packets.clear()
            self.used = self._spoken_to = self._received
            self.utterances += len(self._ends)
            self._ends.clear()
            self._notify()
        return dropped

    async def changed(self, version: int) -> None:
        """Wait until ``version`` is another: for the next packet, end or drop."""
        async with self._room:
            await self._room.wait_for(lambda: self.version != version)

    def _notify(self) -> None:
        self.version += 1
        self._room.notify_all()

    def _check_open(self, field: str) -> None:
        if self.finished:
            raise InputError(field, "after finish", "nothing may follow it")
