"""What frozen models say about videos of any source, one cache per bucket, computed once.

A shot takes the place that an utterance has in SynthTalk's caches, so that their readers serve
both. A shot whose file turns out to be bad is listed, and its rows are never drawn.

Legend: U shots of a bucket, B batch, T frames, H W pixels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashtalk.errors import InputError
from flashtalk.models.wav2vec2.loudness import prepare_pcm
from flashtalk.streaming.spec import StreamSpec
from training.data.array_store import Array, Shape, failed_groups, fill_store
from training.data.buckets import BucketPlan, SizeHW, assign_buckets
from training.data.clips import video_from_frames
from training.data.source import Pcm, Unit, VideoSource, held_frames, quiet_share, units_of
from training.data.speech import window_ending_at
from training.data.stage1_cache import (
    STAGE1_NAMES,
    Encoders,
    Stage1Cache,
    encode_clips,
    encode_speech,
)
from training.data.stage1_clips import ClipPlan, clip_starts
from training.data.stage2_cache import STAGE2_NAMES, Stage2Cache, chunk_starts, stretch_rows
from training.data.stage2_sequences import SequencePlan, sequence_starts
from training.data.videos.problems import SkipList

FORMAT_VERSION = 1


@dataclass(frozen=True)
class BucketCache:
    """The caches of one bucket.

    Args:
        size_hw: of its frames.
        units: its shots; ``clips`` and ``stretches`` number them as their utterances.
        good_U: int64, the shots that could be read, ascending.
        clips: of Stage 1.
        stretches: of Stage 2, of the same shots; None where they were not asked for.
    """

    size_hw: SizeHW
    units: tuple[Unit, ...]
    good_U: npt.NDArray[np.int64]
    clips: Stage1Cache
    stretches: Stage2Cache | None = None

    def videos_of(self, utterance_B: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Which videos of the source shots belong to."""
        return np.asarray([self.units[int(unit)].video for unit in utterance_B], dtype=np.int64)


@dataclass(frozen=True)
class VideoPlan:
    """What is cached of a source.

    Args:
        clips: of each shot, for Stage 1 and for the portraits of Stage 2.
        stretches: of each shot, for Stage 2; shots that are too short for one are left out then.
        buckets: sizes of the frames.
    """

    clips: ClipPlan = field(default_factory=ClipPlan)
    stretches: SequencePlan | None = None
    buckets: BucketPlan = field(default_factory=BucketPlan)

    def fewest_frames(self, spec: StreamSpec) -> int:
        """Length of the shortest shot that is used."""
        least = 2 * spec.chunk_frames
        return least if self.stretches is None else max(least, self.stretches.frames(spec))


@torch.no_grad()
def build_video_caches(
    source: VideoSource,
    encoders: Encoders,
    plan: VideoPlan,
    cache_dir: Path,
    spec: StreamSpec,
    skipped: SkipList | None = None,
) -> list[BucketCache]:
    """Encodes all shots of a source that are not encoded yet; a killed build goes on later.

    Args:
        source: the videos.
        encoders: the frozen models.
        plan: see there.
        cache_dir: a folder for each bucket is made below it.
        spec: the stream contract.
        skipped: told of videos that cannot be read.

    Returns:
        The buckets that have shots, from the tallest to the widest.

    Raises:
        InputError: no shot is long enough, or none can be read.
    """
    units = units_of(source, plan.fewest_frames(spec))
    if not units:
        limit = f"at least one of {plan.fewest_frames(spec)} frames in {source.name}"
        raise InputError("shots", 0, limit)
    sizes = assign_buckets([source.facts(unit.video).size_hw for unit in units], plan.buckets)
    skipped = SkipList() if skipped is None else skipped
    caches = []
    for size_hw in sorted(set(sizes), key=lambda size: (size[1] / size[0], size)):
        chosen = [unit for unit, size in zip(units, sizes, strict=True) if size == size_hw]
        bucket = _Bucket(source, encoders, plan, spec, size_hw, chosen, skipped)
        cache = bucket.build(cache_dir)
        if cache is not None:
            caches.append(cache)
    if not caches:
        raise InputError("videos", len(source), f"at least one that can be read: {skipped.counts}")
    return caches


@dataclass(frozen=True)
class _Bucket:
    source: VideoSource
    encoders: Encoders
    plan: VideoPlan
    spec: StreamSpec
    size_hw: SizeHW
    units: Sequence[Unit]
    skipped: SkipList

    def build(self, cache_dir: Path) -> BucketCache | None:
        """The caches of this bucket; None if none of its shots can be read."""
        clips_dir = self._folder(cache_dir, "stage1", self.plan.clips)
        shape = Shape(STAGE1_NAMES, len(self.units), self.plan.clips.per_utterance)
        title = f"{self.source.name} {self.size_hw[1]}x{self.size_hw[0]}"
        try:
            clips = fill_store(clips_dir, shape, self._clips, f"encode {title}", self._failed)
        except InputError:
            return None
        bad_U = failed_groups(clips_dir)
        stretches: Stage2Cache | None = None
        sequences = self.plan.stretches
        if sequences is not None:
            folder = self._folder(cache_dir, "stage2", sequences)
            shape = Shape(STAGE2_NAMES, len(self.units), sequences.per_utterance)
            title = f"encode stretches of {title}"
            try:
                arrays = fill_store(folder, shape, self._stretches, title, self._failed)
            except InputError:
                return None
            stretches = Stage2Cache(arrays, sequences)
            bad_U = bad_U | failed_groups(folder)
        good_U = np.flatnonzero(~bad_U)
        if not len(good_U):
            return None
        cache = Stage1Cache(clips, self.plan.clips)
        return BucketCache(self.size_hw, tuple(self.units), good_U, cache, stretches)

    def _folder(self, cache_dir: Path, stage: str, plan: ClipPlan | SequencePlan) -> Path:
        chosen = [(unit.video, unit.first, unit.frames) for unit in self.units]
        key = [FORMAT_VERSION, self.source.digest, self.size_hw, chosen, asdict(plan)]
        digest = hashlib.sha256(json.dumps([*key, self.encoders.digest]).encode())
        height, width = self.size_hw
        return cache_dir / f"{stage}-{self.source.name}-{width}x{height}-{digest.hexdigest()[:12]}"

    def _failed(self, unit: int, error: InputError) -> None:
        self.skipped.add(self.source.facts(self.units[unit].video).key, error)

    def _clips(self, index: int) -> dict[str, Array]:
        """All clips of one shot, one after another: large frames do not fit together."""
        unit, spec = self.units[index], self.spec
        starts = clip_starts(self.plan.clips, index, unit.frames, spec)
        rows: list[dict[str, Array]] = []
        silent = []
        for start in starts.tolist():
            frames = held_frames(self.source, unit, start, spec.chunk_frames, self.size_hw)
            heard, first = heard_before(self.source, unit, start + spec.chunk_frames, spec)
            window = _window(heard, start + spec.chunk_frames - first, spec)
            rows.append(encode_clips(self.encoders, video_from_frames(frames), window, spec))
            shown = np.arange(start, start + spec.chunk_frames) - first
            silent.append(quiet_share(heard, shown, spec))
        joined: dict[str, Array] = {
            name: np.concatenate([row[name] for row in rows]) for name in rows[0]
        }
        return {**joined, "start": starts, "silent": np.asarray(silent, dtype=np.float32)}

    def _stretches(self, index: int) -> dict[str, Array]:
        """All stretches of one shot."""
        unit, spec, plan = self.units[index], self.spec, self.plan.stretches
        assert plan is not None
        starts = sequence_starts(plan, index, unit.frames, spec)
        speech, motion = [], []
        for first in chunk_starts(plan, starts, spec).tolist():
            heard, begin = heard_before(self.source, unit, first + spec.chunk_frames, spec)
            window = _window(heard, first + spec.chunk_frames - begin, spec)
            speech.append(encode_speech(self.encoders, window, spec))
            frames = held_frames(self.source, unit, first, spec.motion_frames, self.size_hw)
            motion.append(self.encoders.video(video_from_frames(frames)))
        return stretch_rows(plan, starts, torch.cat(speech), torch.cat(motion))


def heard_before(source: VideoSource, unit: Unit, end: int, spec: StreamSpec) -> tuple[Pcm, int]:
    """The sound of a shot up to frame ``end``, at most 8 s of it, and the frame it begins at."""
    first = max(0, end - spec.window_s * spec.fps)
    return source.pcm(unit.video, unit.first + first, end - first), first


def _window(heard_S: Pcm, end: int, spec: StreamSpec) -> Tensor:
    """The normalised speech window [1, 128000] that ends at frame ``end`` of ``heard_S``."""
    return torch.from_numpy(prepare_pcm(window_ending_at(heard_S, end, spec)))[None]
