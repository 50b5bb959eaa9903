"""The one clock that the gateway goes by: the event loop's, by which it is woken too."""

from __future__ import annotations

import asyncio


def now_s() -> float:
    """Seconds that only go forwards, from an unknown zero; only where a loop runs."""
    return asyncio.get_running_loop().time()
