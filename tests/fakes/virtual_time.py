"""An event loop whose clock is moved by the loop itself: timers are exact and nothing is awaited.

Time stands still while anything can run and jumps to the next timer as soon as nothing can. What
a scenario sees is therefore the same on every machine and under every load, and an hour costs
nothing. Only for scenarios without sockets and processes, for whose sake time would have to go by.
What ``asyncio.to_thread`` does takes no time: the clock stands still until it is done, as it does
while a thread works that the scenario itself holds (``hold``).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import selectors
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

from tests.fakes.seeded_chance import seeded_chance
from tests.patience import patient

Given = TypeVarTuple("Given")
Made = TypeVar("Made")

# By the real clock: a scenario in which nothing can ever happen again is ended with an error.
_STUCK_S = 60.0
# More than the loop's own idea of "now", within which it runs timers without moving the clock:
# else who waits for the rest of a rounding error would wait for ever.
_LEAST_S = 2e-9


class _Jumping(selectors.DefaultSelector):
    """Asks once for what is there; jumps instead of waiting."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        if self.loop.held or timeout is None:
            # Another thread has to wake this one.
            found = super().select(patient(_STUCK_S))
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

    def call_at(
        self,
        when: float,
        callback: Callable[[*Given], object],
        *args: *Given,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """As any loop; but a timer always takes some time, as it does by a real clock."""
        soonest_s = self._virtual_s + _LEAST_S
        return super().call_at(max(when, soonest_s), callback, *args, context=context)

    def jump(self, seconds: float) -> None:
        """The clock moves on."""
        self._virtual_s += max(0.0, seconds)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Given], Made], *args: *Given
    ) -> asyncio.Future[Made]:
        """As any loop; while its own threads work, and not a lane's, time stands still."""
        working = super().run_in_executor(executor, func, *args)
        if executor is None:
            self.held += 1
            working.add_done_callback(self._let_go)
        return working

    def _let_go(self, working: object) -> None:
        self.held -= 1

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Time stands still while a thread works that wakes the loop when it is done."""
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1


async def pass_time(seconds: float) -> None:
    """So much virtual time goes by, with everything that happens in it."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop), "real time is not waited for"
    passed = loop.create_future()
    loop.call_later(seconds, passed.set_result, None)
    await passed


def run_virtual(scenario: Callable[[], Awaitable[Any]]) -> Any:
    """What a scenario returns, in virtual time; pauses of random length repeat too."""

    async def body() -> Any:
        return await scenario()

    with seeded_chance(), asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(body())
