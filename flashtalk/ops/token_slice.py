"""The tokens of a process, if several processes share one sequence."""

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
        """Number of tokens."""
        return self.stop - self.start

    @staticmethod
    def whole(total: int) -> TokenSlice:
        """Returns all tokens: a single process."""
        return TokenSlice(total, 0, total)
