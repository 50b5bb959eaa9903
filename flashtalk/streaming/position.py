"""The position of a stream between two chunks: its chunks and frames so far, and the newest sound.

Nine tenths of the sound stay the same from chunk to chunk. It is kept in its original pieces, which
are shared, not copied, so that a store recognises them. Legend: S samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flashtalk.arrays import Pcm
from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec

Tail = tuple[Pcm, ...]
"""Pieces of sound, oldest first; immutable values."""


@dataclass(frozen=True, eq=False)
class Position:
    """A value: a chunk or a cut returns a new one.

    Args:
        chunk_index: number of the next chunk.
        next_frame: number of its first frame.
        tail: the newest sound that was shown, after silence; its length is constant.
    """

    chunk_index: int
    next_frame: int
    tail: Tail

    @classmethod
    def start(cls, spec: StreamSpec, samples: int) -> Position:
        """Returns the position before the first chunk.

        Args:
            spec: spec of the stream.
            samples: samples of sound to keep: at least the window of the speech encoder less a
                chunk, plus the longest cut.

        Raises:
            InputError: too few samples.
        """
        least = spec.window_samples - spec.new_samples
        if samples < least:
            raise InputError("samples", samples, f"at least {least}")
        return cls(0, 0, _silence(spec, samples))

    @property
    def tail_S(self) -> Pcm:
        """Returns a copy of the tail in one piece, float32 [S]."""
        return np.concatenate(self.tail) if self.tail else np.zeros(0, np.float32)

    def window(self, spec: StreamSpec, chunk_S: Pcm) -> Tail:
        """Returns the speech encoder's input for the next chunk: the 8 s that end with its sound,
        128,000 samples in pieces."""
        return (*newest(self.tail, spec.window_samples - len(chunk_S)), chunk_S)

    def advance(self, spec: StreamSpec, chunk_S: Pcm, frames: int) -> Position:
        """Returns the position after the next chunk.

        Args:
            spec: spec of the stream.
            chunk_S: its sound.
            frames: number of its frames that are shown; the sound of the others is dropped.
        """
        size = frames * spec.samples_per_frame
        shown_S = chunk_S if size == len(chunk_S) else chunk_S[:size]
        tail = _grown(spec, self.tail, shown_S)
        return Position(self.chunk_index + 1, self.next_frame + frames, tail)

    def cut(self, spec: StreamSpec, chunk_index: int, frame: int) -> Position:
        """Returns the position after a cut at an earlier frame; later frames are dropped.

        Args:
            spec: spec of the stream.
            chunk_index: number of the next chunk.
            frame: the next frame to show, 0 .. ``next_frame``.
        """
        samples = (self.next_frame - frame) * spec.samples_per_frame
        return Position(chunk_index, frame, _shrunk(spec, self.tail, samples))


def tail_size(tail: Tail) -> int:
    """Returns the samples of all pieces."""
    return sum(map(len, tail))


def newest(tail: Tail, samples: int) -> Tail:
    """Returns the last samples; the oldest piece may be cut."""
    kept: list[Pcm] = []
    for piece_S in reversed(tail):
        if samples <= 0:
            break
        kept.append(piece_S if len(piece_S) <= samples else piece_S[-samples:])
        samples -= len(piece_S)
    return tuple(reversed(kept))


def _silence(spec: StreamSpec, samples: int) -> Tail:
    """Returns silence in pieces of at most a chunk: a store would get each rest of a large one."""
    whole, rest = divmod(samples, spec.new_samples)
    quiet_S = np.zeros(spec.new_samples, np.float32)
    return ((quiet_S[:rest],) if rest else ()) + (quiet_S,) * whole


def _grown(spec: StreamSpec, tail: Tail, shown_S: Pcm) -> Tail:
    """Appends sound and keeps the length.

    Two neighbours of at most a chunk together become one piece: a tail of short utterances has at
    most twice the pieces of one of whole chunks.
    """
    if not len(shown_S):
        return tail
    last_S = tail[-1]
    grown = (*tail, shown_S)
    if len(last_S) + len(shown_S) <= spec.new_samples:
        grown = (*tail[:-1], np.concatenate((last_S, shown_S)))
    return newest(grown, tail_size(tail))


def _shrunk(spec: StreamSpec, tail: Tail, samples: int) -> Tail:
    """Removes the newest samples and keeps the length, with silence at the beginning."""
    left = max(0, tail_size(tail) - samples)
    kept = list(_silence(spec, tail_size(tail) - left))
    for piece_S in tail:
        if left <= 0:
            break
        kept.append(piece_S[:left] if len(piece_S) > left else piece_S)
        left -= len(piece_S)
    return tuple(kept)
