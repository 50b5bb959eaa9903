"""Cached outputs of frozen models for the videos of a source: one cache per bucket.

With it a step of Stage 1 computes only the transformer. A shot of an unreadable file is listed, and
its rows are never drawn.

Legend: U shots of a bucket, B batch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from flashtalk.arrays import AnyArray, IntArray
from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec
from training.data.array_store import (
    NO_GROUP,
    StoreLayout,
    failed_groups,
    fill_store,
    finished,
    open_store,
)
from training.data.buckets import BucketPlan, SizeHW, assign_buckets
from training.data.encode import (
    CLIP_ARRAYS,
    PORTRAIT_ARRAYS,
    STRETCH_ARRAYS,
    Encoders,
    ShotEncoder,
)
from training.data.source.video import VideoSource
from training.data.units import ClipPlan, Shot, StretchPlan, shots_of
from training.data.videos.problems import SkipList

FORMAT_VERSION = 3


@dataclass(frozen=True)
class CachedRows:
    """A finished cache: memory-mapped arrays by name; the rows of a shot lie side by side."""

    arrays: dict[str, AnyArray]
    per_shot: int

    def __len__(self) -> int:
        return len(self.arrays["start"])

    def starts_of(self, shot: int) -> IntArray:
        """First frames of the rows of a shot."""
        mine = slice(shot * self.per_shot, (shot + 1) * self.per_shot)
        return self.arrays["start"][mine].astype(np.int64)

    @property
    def start_N(self) -> IntArray:
        """First frame of every row."""
        return self.arrays["start"].astype(np.int64)

    def tensor(self, name: str, rows: Sequence[int] | IntArray) -> Tensor:
        """Rows of an array as float32."""
        return torch.from_numpy(self.arrays[name][np.asarray(rows)].astype(np.float32))

    def chunks(self, name: str, rows: IntArray, count: int) -> Tensor:
        """The first ``count`` chunks of stretches as float32."""
        return torch.from_numpy(self.arrays[name][rows][:, :count].astype(np.float32))


@dataclass(frozen=True)
class BucketCache:
    """The caches of one bucket.

    Args:
        size_hw: of its frames.
        shots: by number.
        good_U: int64, the readable shots, ascending.
        clips: of Stage 1; with stretches only their portraits (``encode.PORTRAIT_ARRAYS``).
        stretches: of Stage 2, of the same shots; None without Stage 2.
    """

    size_hw: SizeHW
    shots: tuple[Shot, ...]
    good_U: IntArray
    clips: CachedRows
    stretches: CachedRows | None = None

    def videos_of(self, shot_B: IntArray) -> IntArray:
        """Returns the source's videos of shots."""
        return np.asarray([self.shots[int(shot)].video for shot in shot_B], dtype=np.int64)


@dataclass(frozen=True)
class VideoPlan:
    """What to cache of a source.

    Args:
        clips: of each shot, for Stage 1; with ``stretches`` their first frames, which are the
            portraits of Stage 2. The same plan as in Stage 1 reuses its cache.
        stretches: of each shot, for Stage 2; shots that are too short for one are skipped.
        buckets: sizes of the frames; None keeps the sizes of videos, each size a bucket.
    """

    clips: ClipPlan = field(default_factory=ClipPlan)
    stretches: StretchPlan | None = None
    buckets: BucketPlan | None = field(default_factory=BucketPlan)

    def fewest_frames(self, spec: StreamSpec) -> int:
        """Returns the length of the shortest usable shot."""
        least = 2 * spec.chunk_frames
        return least if self.stretches is None else max(least, self.stretches.frames(spec))

    def bucket_sizes(self) -> Sequence[SizeHW]:
        """Returns the sizes of all possible buckets; none if videos keep their sizes."""
        return () if self.buckets is None else self.buckets.sizes()

    def sizes(self, sizes_hw: Sequence[SizeHW]) -> list[SizeHW]:
        """Returns the bucket of every video, by its size in pixels."""
        return list(sizes_hw) if self.buckets is None else assign_buckets(sizes_hw, self.buckets)


@torch.no_grad()
def build_video_caches(
    source: VideoSource,
    encoders: Encoders,
    plan: VideoPlan,
    cache_dir: Path,
    spec: StreamSpec,
    skipped: SkipList | None = None,
) -> list[BucketCache]:
    """Encodes all shots of a source that are not cached; an interrupted build is resumable.

    Args:
        source: the videos.
        encoders: the frozen models.
        plan: what to cache.
        cache_dir: parent of one folder per bucket.
        spec: spec of the stream.
        skipped: called with videos that cannot be read.

    Returns:
        The buckets with shots, from the tallest to the widest.

    Raises:
        InputError: no shot is long enough, or none can be read.
    """
    shots = shots_of(source, plan.fewest_frames(spec))
    if not shots:
        limit = f"{source.name} needs at least one shot of {plan.fewest_frames(spec)} frames"
        raise InputError("shots", 0, limit)
    sizes = plan.sizes([source.facts(shot.video).size_hw for shot in shots])
    skipped = SkipList() if skipped is None else skipped
    caches = []
    for size_hw in sorted(set(sizes), key=lambda size: (size[1] / size[0], size)):
        chosen = tuple(shot for shot, size in zip(shots, sizes, strict=True) if size == size_hw)
        bucket = _Bucket(plan, ShotEncoder(source, encoders, spec, size_hw), chosen, skipped)
        cache = bucket.build(cache_dir)
        if cache is not None:
            caches.append(cache)
    if not caches:
        raise InputError(
            "videos", len(source), f"at least one must be readable; skipped: {skipped.counts}"
        )
    return caches


@dataclass(frozen=True)
class _Bucket:
    plan: VideoPlan
    encoder: ShotEncoder
    shots: tuple[Shot, ...]
    skipped: SkipList

    def build(self, cache_dir: Path) -> BucketCache | None:
        """Returns the caches of this bucket; None if none of its shots can be read."""
        stretches, bad_U = None, np.zeros(len(self.shots), dtype=bool)
        try:
            if self.plan.stretches is None:
                clips, folder = self._clips(cache_dir)
            else:
                clips, folder = self._portraits(cache_dir)
                stretches, its_folder = self._stretches(cache_dir, self.plan.stretches)
                bad_U |= failed_groups(its_folder)
        except InputError as error:
            if error.field != NO_GROUP:
                raise
            return None
        good_U = np.flatnonzero(~(bad_U | failed_groups(folder)))
        if not len(good_U):
            return None
        return BucketCache(self.encoder.size_hw, self.shots, good_U, clips, stretches)

    def _clips(self, cache_dir: Path) -> tuple[CachedRows, Path]:
        plan, folder = self.plan.clips, self._folder(cache_dir, "clips", self.plan.clips)
        return self._filled(
            folder,
            CLIP_ARRAYS,
            plan.per_shot,
            "",
            lambda number: self.encoder.clips(plan, number, self.shots[number]),
        )

    def _portraits(self, cache_dir: Path) -> tuple[CachedRows, Path]:
        """Where Stage 1 has left its clips, from there."""
        plan, whole = self.plan.clips, self._folder(cache_dir, "clips", self.plan.clips)
        if finished(whole):
            return CachedRows(open_store(whole, PORTRAIT_ARRAYS), plan.per_shot), whole
        folder = self._folder(cache_dir, "portraits", plan)
        return self._filled(
            folder,
            PORTRAIT_ARRAYS,
            plan.per_shot,
            "portraits of ",
            lambda number: self.encoder.portraits(plan, number, self.shots[number]),
        )

    def _stretches(self, cache_dir: Path, plan: StretchPlan) -> tuple[CachedRows, Path]:
        folder = self._folder(cache_dir, "stretches", plan)
        return self._filled(
            folder,
            STRETCH_ARRAYS,
            plan.per_shot,
            "stretches of ",
            lambda number: self.encoder.stretches(plan, number, self.shots[number]),
        )

    def _filled(
        self,
        folder: Path,
        names: tuple[str, ...],
        per_shot: int,
        what: str,
        encode: Callable[[int], dict[str, AnyArray]],
    ) -> tuple[CachedRows, Path]:
        (height, width), shape = self.encoder.size_hw, StoreLayout(names, len(self.shots), per_shot)
        title = f"encode {what}{self.encoder.source.name} {width}x{height}"
        return CachedRows(fill_store(folder, shape, encode, title, self._failed), per_shot), folder

    def _folder(self, cache_dir: Path, kind: str, plan: ClipPlan | StretchPlan) -> Path:
        """Returns a folder whose name identifies everything that determines the values."""
        encoder, (height, width) = self.encoder, self.encoder.size_hw
        chosen = [(shot.video, shot.first, shot.frames) for shot in self.shots]
        what = [asdict(plan), asdict(encoder.spec)]
        key = [FORMAT_VERSION, encoder.source.digest, encoder.size_hw, chosen, *what]
        digest = hashlib.sha256(json.dumps([*key, encoder.encoders.digest]).encode())
        name = f"{encoder.source.name}-{width}x{height}-{digest.hexdigest()[:12]}"
        return cache_dir / f"{kind}-{name}"

    def _failed(self, number: int, error: InputError) -> None:
        self.skipped.add(self.encoder.source.facts(self.shots[number].video).key, error)
