"""Units of training data: shots of a video, clips and stretches of a shot.

A *shot* is a part of a video without a cut. A *clip* is a chunk of it, 33 frames, a sample of Stage
1; a *stretch* is a sequence of chunks for a rollout of Stage 2. A cache has a *row* for each.

Legend: T frames, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from flashtalk.arrays import Frames, IntArray
from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec
from training.data.buckets import SizeHW
from training.data.source.video import VideoSource

# A reference's distance from its clip.
NEAREST_S, FARTHEST_S = 1.0, 10.0


@dataclass(frozen=True, slots=True)
class Shot:
    """The part of a video from which clips, their references and their speech are taken.

    A shot corresponds to a stream: sound before its first frame is not used.
    """

    video: int
    first: int
    frames: int


def shots_of(source: VideoSource, fewest: int) -> list[Shot]:
    """Returns all shots of at least ``fewest`` frames, in order."""
    return [
        Shot(video, first, end - first)
        for video in range(len(source))
        for first, end in source.facts(video).shots
        if end - first >= fewest
    ]


def held_frames(source: VideoSource, shot: Shot, start: int, count: int, size_hw: SizeHW) -> Frames:
    """Returns frames ``start .. start + count - 1`` of a shot, uint8 [T, H, W, 3].

    A negative start repeats the first frame, as before the beginning of a stream.
    """
    ahead = max(0, -start)
    shown = source.frames(shot.video, shot.first + max(start, 0), max(1, count - ahead), size_hw)
    return np.concatenate([np.repeat(shown[:1], min(ahead, count - 1), axis=0), shown])[:count]


@dataclass(frozen=True)
class ClipPlan:
    """Clips per shot: ``spread`` evenly spaced ones and the lead-in.

    The lead-in clip looks like the first chunk of a stream: the first frame repeated for the motion
    frames, without sound, then the beginning of the shot.
    """

    spread: int = 7
    lead_in: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.spread < 2:
            raise InputError("spread", self.spread, "at least 2: each is the other's reference")

    @property
    def per_shot(self) -> int:
        """Returns the clips of one shot."""
        return self.spread + int(self.lead_in)


def clip_starts(plan: ClipPlan, shot: int, total: int, spec: StreamSpec) -> IntArray:
    """First frames of the clips of one shot; the lead-in's is minus the motion frames.

    Args:
        plan: the clips per shot.
        shot: its number, the seed of the positions.
        total: frames of the shot.
        spec: spec of the stream.

    Raises:
        InputError: the shot is too short for a reference outside of each clip.
    """
    last = total - spec.chunk_frames
    if last < spec.chunk_frames:
        limit = f"at least {2 * spec.chunk_frames} frames, to leave a reference outside the clip"
        raise InputError("shot frames", total, limit)
    rng = np.random.default_rng([plan.seed, shot])
    even = np.linspace(0, last, plan.spread)
    reach = last / max(1, plan.spread - 1) / 4
    jitter = rng.uniform(-reach, reach, plan.spread)
    # The first and last clips stay at the ends, so that there is a reference outside of each.
    jitter[[0, -1]] = 0.0
    starts = np.clip(np.round(even + jitter), 0, last).astype(np.int64)
    if plan.lead_in:
        starts = np.concatenate([[-spec.motion_frames], starts])
    return starts


def clip_frames(start: int, spec: StreamSpec) -> IntArray:
    """Frames of the shot that make a clip; before its beginning the first one is held."""
    return np.maximum(np.arange(start, start + spec.chunk_frames), 0)


def references_outside(starts: IntArray, first: int, spec: StreamSpec) -> IntArray:
    """Which clips' first frames may be the reference of the chunk that begins at frame ``first``.

    They are outside of the chunk, 1 to 10 s from its edges if there are such clips.
    """
    frames = np.maximum(starts, 0)
    end = first + spec.chunk_frames
    outside = (frames < max(first, 0)) | (frames >= end)
    distance = np.where(frames < first, first - frames, frames - (end - 1))
    near = outside & (distance >= NEAREST_S * spec.fps) & (distance <= FARTHEST_S * spec.fps)
    return np.flatnonzero(near if near.any() else outside)


@dataclass(frozen=True)
class StretchPlan:
    """Stretches per shot: the beginning of a stream, and ``spread`` others.

    A beginning looks like that of a session: the first frame repeated, no sound, then the beginning
    of the shot. The others start anywhere and continue true frames.

    Args:
        chunks: K, chunks of 28 new frames per stretch.
        spread: number of stretches that are not beginnings.
        seed: of their positions.
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
    def per_shot(self) -> int:
        """Returns the stretches of one shot."""
        return 1 + self.spread

    def frames(self, spec: StreamSpec) -> int:
        """Returns the frames of a stretch: 145 for five chunks."""
        return (self.chunks - 1) * spec.new_frames + spec.chunk_frames


def stretch_starts(plan: StretchPlan, shot: int, total: int, spec: StreamSpec) -> IntArray:
    """First frames of the stretches of a shot; the beginning's is minus the motion frames.

    Arguments as in ``clip_starts``.

    Raises:
        InputError: the shot is shorter than a stretch.
    """
    last = total - plan.frames(spec)
    if last < 0:
        raise InputError("shot frames", total, f"at least {plan.frames(spec)}")
    rng = np.random.default_rng([plan.seed, shot, plan.chunks])
    edges = np.linspace(0, last + 1, plan.spread + 1)
    places = [int(rng.uniform(a, b)) for a, b in pairwise(edges)]
    return np.asarray([-spec.motion_frames, *places], dtype=np.int64)


def chunk_starts(plan: StretchPlan, starts: IntArray, spec: StreamSpec) -> IntArray:
    """First frames of all chunks of the stretches that begin at ``starts``, one after another."""
    return (starts[:, None] + spec.new_frames * np.arange(plan.chunks)).reshape(-1)
