"""The gateway's only clock: the event loop's, which also triggers its timers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def now_s() -> float:
    """Returns monotonic seconds with an arbitrary zero; needs a running loop."""
    return asyncio.get_running_loop().time()


def loop_time() -> Callable[[], float]:
    """Returns the same clock for frequent reads: finding the running loop is a system call each
    time, since Python 3.11 compares process numbers there."""
    return asyncio.get_running_loop().time
