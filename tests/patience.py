"""How long the suite waits for what must happen: generous, and longer on a slow or busy machine.

One factor scales every deadline of the suite. It comes from the environment variable
``FLASHTALK_TEST_PATIENCE``, or is measured once when pytest starts: how much longer a fixed piece
of work takes here than on the machine on which the deadlines were chosen. A deadline is only ever
reached when something is broken, so it costs a green run nothing to be long. Nothing in the suite
may assert that something was fast.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

VARIABLE = "FLASHTALK_TEST_PATIENCE"

# Seconds of `_work` on two idle cores of an AMD EPYC, where the deadlines were chosen.
_REFERENCE_S = 0.15
_LONGEST = 20.0
_POLL_S = 0.01


def _work() -> int:
    total = 0
    for number in range(3_000_000):
        total += number & 7
    return total


def measured() -> float:
    """At least 1: how many times longer work takes here and now, by the wall clock."""
    begun_s = time.monotonic()
    _work()
    slowness = (time.monotonic() - begun_s) / _REFERENCE_S
    # Programs of several processes have less than they were given where there is one core.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    return min(_LONGEST, max(1.0, slowness) * max(1.0, 2 / cores))


def settle() -> float:
    """The factor; from now on in the environment, so that every process of the suite has it."""
    if VARIABLE not in os.environ:  # noqa: TID251 - the suite's own setting
        os.environ[VARIABLE] = f"{measured():.2f}"  # noqa: TID251
    return factor()


def factor() -> float:
    """By which deadlines are longer than they are written."""
    return float(os.environ.get(VARIABLE, "1"))  # noqa: TID251 - the suite's own setting


def patient(seconds: float) -> float:
    """A deadline of ``seconds`` on the machine on which it was chosen, in seconds here."""
    return seconds * factor()


async def until(condition: Callable[[], bool], limit_s: float = 60.0) -> None:
    """Returns once ``condition`` holds.

    Raises:
        TimeoutError: not within ``limit_s``, scaled.
    """
    async with asyncio.timeout(patient(limit_s)):
        while not condition():  # noqa: ASYNC110 - of things that raise no event
            await asyncio.sleep(_POLL_S)


async def until_true(condition: Callable[[], Awaitable[bool]], limit_s: float = 60.0) -> None:
    """As ``until``, for conditions that are awaited."""
    async with asyncio.timeout(patient(limit_s)):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)


def wait_until(condition: Callable[[], bool], limit_s: float = 60.0, what: str = "") -> None:
    """As ``until``, without an event loop.

    Raises:
        AssertionError: not within ``limit_s``, scaled; with ``what`` was waited for.
    """
    until_s = time.monotonic() + patient(limit_s)
    while not condition():
        assert time.monotonic() < until_s, what or "what was waited for did not happen"
        time.sleep(_POLL_S)
