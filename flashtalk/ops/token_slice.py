"""Which tokens of a sequence a process holds, where several processes share one sequence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TokenSlice:
    """Tokens ``start`` to ``stop`` (exclusive) of ``total``."""

    total: int
    start: int
    stop: int

    @property
    def count(self) -> int:
        """How many they are."""
        return self.stop - self.start

    @staticmethod
    def whole(total: int) -> TokenSlice:
        """All of them: one process."""
        return TokenSlice(total, 0, total)
