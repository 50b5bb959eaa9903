"""An event loop whose clock is moved by the loop itself: timers are exact and nothing is awaited.

Time stands still while anything can run and jumps to the next timer as soon as nothing can. What
a scenario sees is therefore the same on every machine and under every load, and an hour costs
nothing. Only for scenarios inside one thread: no sockets, no processes, no executor, for whose
sake time would have to go by. A thread that the scenario itself holds (``hold``) makes time stand
still until it is let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

# By the real clock: a scenario in which nothing can ever happen again is ended with an error.
_STUCK_S = 60.0


class _Jumping(selectors.DefaultSelector):
    """Asks once for what is there; jumps instead of waiting."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        if self.loop.held or timeout is None:
            # Another thread has to wake this one.
            found = super().select(_STUCK_S)
            if not found:
                raise RuntimeError("nothing is left that could happen")
            return found
        self.loop.jump(timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """See the module. ``time()`` begins at 1,000 s."""

    def __init__(self) -> None:
        self._virtual_s = 1_000.0
        self.held = 0
        selector = _Jumping()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Seconds of the virtual clock."""
        return self._virtual_s

    def jump(self, seconds: float) -> None:
        """The clock moves on."""
        self._virtual_s += max(0.0, seconds)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Time stands still while a thread works that wakes the loop when it is done."""
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1


def run_virtual(scenario: Callable[[], Awaitable[Any]]) -> Any:
    """What a scenario returns, in virtual time."""

    async def body() -> Any:
        return await scenario()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(body())
