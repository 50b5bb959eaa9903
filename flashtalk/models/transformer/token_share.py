"""The seam for processes that share the tokens of a chunk.

Legend: B batch, N tokens, D width.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from flashtalk.ops.token_slice import TokenSlice


class WholeSequence:
    """One process holds all tokens of a chunk (a ``TokenShare``)."""

    def mine(self, total: int) -> TokenSlice:
        """Returns all ``total`` tokens."""
        return TokenSlice.whole(total)

    def join(self, x_BND: Tensor, tokens: TokenSlice) -> Tensor:
        """Returns ``x`` itself: no other process has tokens."""
        return x_BND


class TokenShare(Protocol):
    """How the tokens of a chunk are distributed over processes."""

    def mine(self, total: int) -> TokenSlice:
        """Returns the slice of ``total`` tokens that this process computes."""

    def join(self, x_BND: Tensor, tokens: TokenSlice) -> Tensor:
        """[B, N, D] of every process to [B, total, D] on each."""
