"""Pauses between attempts: longer after each failure, and never in step with anybody else's.

What fails for many at the same moment, a gateway that died or a worker that went away, is asked
again by all of them. With the same pauses they would come back together, again and again.
"""

from __future__ import annotations

from tenacity import AsyncRetrying, RetryCallState, wait_random_exponential

_FIRST_SPREAD = 3.0


def spread_wait(first_s: float, longest_s: float) -> wait_random_exponential:
    """A strategy of tenacity: uniform from ``first_s`` to a limit that doubles.

    Args:
        first_s: the shortest pause, in seconds; the first limit is three times as long.
        longest_s: the highest limit.
    """
    return wait_random_exponential(
        multiplier=_FIRST_SPREAD * first_s, min=first_s, max=max(first_s, longest_s)
    )


class Pauses:
    """The pauses of a loop that decides itself when to try again, and when to give up.

    Args:
        first_s, longest_s: as ``spread_wait``.
    """

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._wait = spread_wait(first_s, longest_s)
        self._failures = 0

    def next_s(self) -> float:
        """Seconds to wait after another failure."""
        self._failures += 1
        state = RetryCallState(AsyncRetrying(wait=self._wait), fn=None, args=(), kwargs={})
        state.attempt_number = self._failures
        return self._wait(state)

    def restart(self) -> None:
        """Something succeeded: the next failure is the first one."""
        self._failures = 0
