"""Requests to an open stream; each wakes its conductor."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from services.gateway.store.records import InterruptRequest
from services.gateway.stream.intake import Mark

_WAITING_INTERRUPTS = 16


@dataclass(frozen=True)
class Asked:
    """A queued interruption.

    Args:
        request: the request.
        mark: its position in the speech; later speech is kept.
        elsewhere: it came through the store, which gets the answer too.
    """

    request: InterruptRequest
    mark: Mark
    elsewhere: bool


class StreamSignals:
    """The signals of one stream. Every setter wakes the task in ``woken``.

    Attributes:
        draining, half_closed, deleted: reasons for which the stream ends soon.
    """

    def __init__(self) -> None:
        self.draining = self.half_closed = self.deleted = False
        self._interrupts: asyncio.Queue[Asked] = asyncio.Queue(_WAITING_INTERRUPTS)
        self._wake = asyncio.Event()

    def drain(self) -> None:
        """The gateway is stopping."""
        self.draining = True
        self.wake()

    def half_close(self) -> None:
        """The client has closed its side without ``Finish``."""
        self.half_closed = True
        self.wake()

    def delete(self) -> None:
        """The session was deleted by another call."""
        self.deleted = True
        self.wake()

    async def interrupt(self, asked: Asked) -> None:
        """Queues an interruption; waits while the queue is full."""
        await self._interrupts.put(asked)
        self.wake()

    def interrupt_at_once(self, asked: Asked) -> bool:
        """Queues an interruption without waiting; returns False if the queue is full."""
        if self._interrupts.full():
            return False
        self._interrupts.put_nowait(asked)
        self.wake()
        return True

    @property
    def interrupted(self) -> bool:
        """Whether an interruption is queued."""
        return not self._interrupts.empty()

    def next_interrupt(self) -> Asked:
        """Takes the oldest interruption; there must be one."""
        return self._interrupts.get_nowait()

    def wake(self) -> None:
        """Wakes the conductor for something else."""
        self._wake.set()

    def clear(self) -> None:
        """Forgets earlier signals: only later ones wake."""
        self._wake.clear()

    async def woken(self) -> None:
        """Waits for any signal after ``clear``."""
        await self._wake.wait()
