"""Which stretches of an utterance Stage 2 rolls out: a few chunks, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec


@dataclass(frozen=True)
class SequencePlan:
    """Stretches per utterance: the beginning of a stream, and ``spread`` others.

    A beginning is what a session is first asked for: the first frame held, no sound, then the
    beginning of the video. The others start anywhere and continue true frames.

    Args:
        chunks: K, chunks of 28 new frames per stretch.
        spread: stretches that are no beginnings.
        seed: of their places.
    """

    chunks: int = 5
    spread: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.chunks < 1:
            raise InputError("chunks", self.chunks, "at least 1")
        if self.spread < 1:
            raise InputError("spread", self.spread, "at least 1")

    @property
    def per_utterance(self) -> int:
        """Stretches of one utterance."""
        return 1 + self.spread

    def frames(self, spec: StreamSpec) -> int:
        """Length of a stretch: 145 for five chunks."""
        return (self.chunks - 1) * spec.new_frames + spec.chunk_frames


def sequence_starts(
    plan: SequencePlan, utterance: int, total: int, spec: StreamSpec
) -> npt.NDArray[np.int64]:
    """First frames of the stretches of an utterance; the beginning's is minus the motion frames.

    Raises:
        InputError: the utterance is shorter than a stretch.
    """
    last = total - plan.frames(spec)
    if last < 0:
        raise InputError("utterance frames", total, f"at least {plan.frames(spec)}")
    rng = np.random.default_rng([plan.seed, utterance, plan.chunks])
    edges = np.linspace(0, last + 1, plan.spread + 1)
    places = [int(rng.uniform(a, b)) for a, b in pairwise(edges)]
    return np.asarray([-spec.motion_frames, *places], dtype=np.int64)


def chunk_start(start: int, chunk: int, spec: StreamSpec) -> int:
    """First frame of a chunk, from 0, of the stretch that begins at ``start``."""
    return start + chunk * spec.new_frames
