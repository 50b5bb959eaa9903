"""The one clock that the gateway goes by: the event loop's, by which it is woken too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def now_s() -> float:
    """Seconds that only go forwards, from an unknown zero; only where a loop runs."""
    return asyncio.get_running_loop().time()


def loop_time() -> Callable[[], float]:
    """The same clock for who reads it often: finding the running loop is a system call each time,
    since Python 3.11 compares process numbers there."""
    return asyncio.get_running_loop().time
