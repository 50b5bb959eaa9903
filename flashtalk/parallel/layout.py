"""The degrees of Ulysses and ring parallelism, and the tokens of each rank.

The report runs its transformer on 8 GPUs with Ulysses and ring attention together (section 3.3,
USP of arXiv 2405.07719).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from flashtalk.errors import InputError
from flashtalk.ops.token_slice import TokenSlice


@dataclass(frozen=True)
class Layout:
    """Degrees of the two kinds of sequence parallelism; their product is the number of ranks.

    Rank ``p`` is number ``p % ulysses`` of its Ulysses group and ``p // ulysses`` of its ring.

    Args:
        ulysses: ranks that exchange tokens for heads before and after every attention.
        ring: ranks that pass keys and values around the ring.

    Raises:
        InputError: a degree below 1.
    """

    ulysses: int = 1
    ring: int = 1

    def __post_init__(self) -> None:
        for name in ("ulysses", "ring"):
            if getattr(self, name) < 1:
                raise InputError(name, getattr(self, name), "at least 1")

    @property
    def ranks(self) -> int:
        """Number of ranks."""
        return self.ulysses * self.ring

    def __str__(self) -> str:
        return f"ulysses {self.ulysses} x ring {self.ring}"


def choose_layout(ranks: int, heads: int) -> Layout:
    """Returns the layout that sends least: Ulysses as far as the heads divide, ring for the rest.

    Ulysses sends a share of the tokens twice per attention, whatever the number of ranks; a ring
    sends all keys and values ``ring - 1`` times (``traffic.py``).

    Raises:
        InputError: fewer than one rank.
    """
    if ranks < 1:
        raise InputError("ranks", ranks, "at least 1")
    ulysses = math.gcd(ranks, heads)
    return Layout(ulysses, ranks // ulysses)


def check_layout(layout: Layout, heads: int, tokens: int) -> None:
    """Checks that a network with these heads and tokens can run in this layout.

    Token counts need not be divisible. Raises InputError with one sentence about the mismatch.
    """
    if heads % layout.ulysses:
        fitting = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
        limit = f"a divisor of the {heads} heads ({fitting}): each rank computes whole heads"
        raise InputError("ulysses", layout.ulysses, limit)
    if tokens < layout.ranks:
        limit = f"at most {tokens}, one for each token of the chunk"
        raise InputError("ranks", layout.ranks, limit)


def shard_tokens(total: int, ranks: int) -> tuple[TokenSlice, ...]:
    """Returns the tokens of every rank: contiguous, in order; counts differ by at most one."""
    return tuple(TokenSlice(total, begin, end) for begin, end in spans(total, ranks))


def spans(total: int, parts: int) -> tuple[tuple[int, int], ...]:
    """Returns begin and end of every part, in order; sizes differ by at most one."""
    each, more = divmod(total, parts)
    edges = [part * each + min(part, more) for part in range(parts + 1)]
    return tuple(pairwise(edges))
