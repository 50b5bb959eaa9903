"""How many events crowd into a short time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


def most_within(moments_s: Iterable[float], window_s: float) -> int:
    """The number of moments in the fullest window of so many seconds."""
    ordered_s = sorted(moments_s)
    return max(
        bisect_right(ordered_s, begin_s + window_s) - index
        for index, begin_s in enumerate(ordered_s)
    )
