"""How many ranks share the heads of a sequence, how many its keys, and who holds which tokens.

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
        ulysses: ranks that trade tokens for heads before and after every attention.
        ring: ranks that pass keys and values around.

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
        """How many ranks it takes."""
        return self.ulysses * self.ring

    def __str__(self) -> str:
        return f"ulysses {self.ulysses} x ring {self.ring}"


def choose_layout(ranks: int, heads: int) -> Layout:
    """The layout with the least to send: Ulysses as far as the heads divide, ring for the rest.

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
    """Whether a network of so many heads can run so many tokens in this layout.

    Token counts need not divide. Raises InputError that says in one sentence what does not fit.
    """
    if heads % layout.ulysses:
        fitting = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
        limit = f"a divisor of the {heads} heads ({fitting}): each rank computes whole heads"
        raise InputError("ulysses", layout.ulysses, limit)
    if tokens < layout.ranks:
        limit = f"at most {tokens}, one for each token of the chunk"
        raise InputError("ranks", layout.ranks, limit)


def shard_tokens(total: int, ranks: int) -> tuple[TokenSlice, ...]:
    """The tokens of every rank: contiguous, in order, their counts one apart at most."""
    return tuple(TokenSlice(total, begin, end) for begin, end in spans(total, ranks))


def spans(total: int, parts: int) -> tuple[tuple[int, int], ...]:
    """Begin and end of every part of a line, in order; sizes one apart at most."""
    each, more = divmod(total, parts)
    edges = [part * each + min(part, more) for part in range(parts + 1)]
    return tuple(pairwise(edges))
