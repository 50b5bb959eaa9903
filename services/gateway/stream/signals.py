"""What others want of an open stream: whoever says so wakes its conductor by saying it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from services.gateway.store.records import InterruptRequest
from services.gateway.stream.intake import Mark

_WAITING_INTERRUPTS = 16


@dataclass(frozen=True)
class Asked:
    """An interruption that waits for the conductor.

    Args:
        request: what was asked.
        mark: where in the speech it stood: what is behind it belongs to the time after.
        elsewhere: it came by way of the store, which gets the answer too.
    """

    request: InterruptRequest
    mark: Mark
    elsewhere: bool


class StreamSignals:
    """Of one stream. Nothing here can be set without waking who waits in ``woken``.

    Attributes:
        draining, half_closed, deleted: why the stream ends soon.
    """

    def __init__(self) -> None:
        self.draining = self.half_closed = self.deleted = False
        self._interrupts: asyncio.Queue[Asked] = asyncio.Queue(_WAITING_INTERRUPTS)
        self._wake = asyncio.Event()

    def drain(self) -> None:
        """The gateway goes away."""
        self.draining = True
        self.wake()

    def half_close(self) -> None:
        """The client has closed its side without ``Finish``."""
        self.half_closed = True
        self.wake()

    def delete(self) -> None:
        """The session was deleted from elsewhere."""
        self.deleted = True
        self.wake()

    async def interrupt(self, asked: Asked) -> None:
        """Leaves an interruption; waits while many are waiting already."""
        await self._interrupts.put(asked)
        self.wake()

    def interrupt_at_once(self, asked: Asked) -> bool:
        """The same without waiting; False, and nothing, if too many wait."""
        if self._interrupts.full():
            return False
        self._interrupts.put_nowait(asked)
        self.wake()
        return True

    @property
    def interrupted(self) -> bool:
        """An interruption waits to be carried out."""
        return not self._interrupts.empty()

    def next_interrupt(self) -> Asked:
        """Takes the oldest one; there has to be one."""
        return self._interrupts.get_nowait()

    def wake(self) -> None:
        """Something else that the conductor waits for may have come."""
        self._wake.set()

    def clear(self) -> None:
        """Only what comes from now on wakes."""
        self._wake.clear()

    async def woken(self) -> None:
        """Waits for anything that has come since ``clear``."""
        await self._wake.wait()
