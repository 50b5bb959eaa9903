"""Where a stream stands between two chunks: its chunks and frames so far, and the newest sound.

Nine tenths of the sound stay the same from chunk to chunk: it is kept in the pieces in which it
came, which are handed on, not copied, so that a store knows them again. Legend: S samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flashtalk.arrays import Pcm
from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec

Tail = tuple[Pcm, ...]
"""Pieces of sound, oldest first; they are values and never written to."""


@dataclass(frozen=True, eq=False)
class Position:
    """A value: a chunk or a cut gives another one.

    Args:
        chunk_index: the next chunk.
        next_frame: number of its first frame.
        tail: the newest sound that was shown, silence before it; its length never changes.
    """

    chunk_index: int
    next_frame: int
    tail: Tail

    @classmethod
    def start(cls, spec: StreamSpec, samples: int) -> Position:
        """Before the first chunk.

        Args:
            spec: the stream contract.
            samples: of sound to keep: at least the window of the speech encoder less a chunk, and
                what cuts take away before it.

        Raises:
            InputError: too few.
        """
        least = spec.window_samples - spec.new_samples
        if samples < least:
            raise InputError("samples", samples, f"at least {least}")
        return cls(0, 0, _silence(spec, samples))

    @property
    def tail_S(self) -> Pcm:
        """The tail in one piece, float32 [S]: a copy."""
        return np.concatenate(self.tail) if self.tail else np.zeros(0, np.float32)

    def window(self, spec: StreamSpec, chunk_S: Pcm) -> Tail:
        """What the speech encoder sees of the next chunk: the 8 s that end with its sound,
        128,000 samples in pieces."""
        return (*newest(self.tail, spec.window_samples - len(chunk_S)), chunk_S)

    def advance(self, spec: StreamSpec, chunk_S: Pcm, frames: int) -> Position:
        """After the next chunk.

        Args:
            spec: the stream contract.
            chunk_S: its sound.
            frames: of it that are shown; the sound of the others is forgotten.
        """
        size = frames * spec.samples_per_frame
        shown_S = chunk_S if size == len(chunk_S) else chunk_S[:size]
        tail = _grown(spec, self.tail, shown_S)
        return Position(self.chunk_index + 1, self.next_frame + frames, tail)

    def cut(self, spec: StreamSpec, chunk_index: int, frame: int) -> Position:
        """Back at an earlier frame: what was shown from there on is forgotten.

        Args:
            spec: the stream contract.
            chunk_index: that the next chunk gets.
            frame: that is shown next, 0 .. ``next_frame``.
        """
        samples = (self.next_frame - frame) * spec.samples_per_frame
        return Position(chunk_index, frame, _shrunk(spec, self.tail, samples))


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


def _silence(spec: StreamSpec, samples: int) -> Tail:
    """Pieces as large as a chunk: of one large piece a store would get each shorter rest."""
    whole, rest = divmod(samples, spec.new_samples)
    quiet_S = np.zeros(spec.new_samples, np.float32)
    return ((quiet_S[:rest],) if rest else ()) + (quiet_S,) * whole


def _grown(spec: StreamSpec, tail: Tail, shown_S: Pcm) -> Tail:
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


def _shrunk(spec: StreamSpec, tail: Tail, samples: int) -> Tail:
    """As long as it was, without so many of its newest samples; silence before it."""
    left = max(0, tail_size(tail) - samples)
    kept = list(_silence(spec, tail_size(tail) - left))
    for piece_S in tail:
        if left <= 0:
            break
        kept.append(piece_S[:left] if len(piece_S) > left else piece_S)
        left -= len(piece_S)
    return tuple(kept)
