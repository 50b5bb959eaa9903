"""The newest sound of a session, in the pieces in which it came.

Nine tenths of it stay the same from chunk to chunk: pieces are handed on, not copied, and the store
knows them again. Legend: S samples.
"""

from __future__ import annotations

import numpy as np

from flashtalk.streaming import Pcm, StreamSpec

Tail = tuple[Pcm, ...]
"""Pieces of sound, oldest first; they are values and never written to."""


def silence(spec: StreamSpec, samples: int) -> Tail:
    """Pieces as large as a chunk: of one large piece the store would get each shorter rest."""
    whole, rest = divmod(samples, spec.new_samples)
    quiet_S = np.zeros(spec.new_samples, np.float32)
    return ((quiet_S[:rest],) if rest else ()) + (quiet_S,) * whole


def tail_size(tail: Tail) -> int:
    """Samples of all pieces."""
    return sum(map(len, tail))


def newest(tail: Tail, samples: int) -> Tail:
    """The last so many samples; the oldest piece of them may be cut."""
    kept: list[Pcm] = []
    for piece_S in reversed(tail):
        if samples <= 0:
            break
        kept.append(piece_S if len(piece_S) <= samples else piece_S[-samples:])
        samples -= len(piece_S)
    return tuple(reversed(kept))


def gone_on(spec: StreamSpec, tail: Tail, shown_S: Pcm) -> Tail:
    """As long as it was, with more sound at its end.

    Two neighbours that are a chunk at most become one piece: a tail of short utterances has no more
    than twice the pieces of one of whole chunks.
    """
    if not len(shown_S):
        return tail
    last_S = tail[-1]
    grown = (*tail, shown_S)
    if len(last_S) + len(shown_S) <= spec.new_samples:
        grown = (*tail[:-1], np.concatenate((last_S, shown_S)))
    return newest(grown, tail_size(tail))


def gone_back(spec: StreamSpec, tail: Tail, samples: int) -> Tail:
    """As long as it was, without so many of its newest samples; silence before it."""
    kept = list(silence(spec, samples))
    left = tail_size(tail) - samples
    for piece_S in tail:
        if left <= 0:
            break
        kept.append(piece_S[:left] if len(piece_S) > left else piece_S)
        left -= len(piece_S)
    return tuple(kept)
