"""Sources of videos by split, and what can be measured on a student's videos without any probe.

Legend: T frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec
from training.data.cache import BucketCache, VideoPlan, build_video_caches
from training.data.clips import video_from_frames
from training.data.encode import Encoders
from training.data.source import VideoSource
from training.data.synthtalk import SynthTalk
from training.data.synthtalk_source import SynthTalkSource
from training.data.units import Shot, held_frames
from training.data.videos.folder import VideoFolder
from training.data.videos.problems import SkipList
from training.places import Places

Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")


def open_source(data_dir: Path, split: str) -> VideoSource:
    """A split: ``SPLIT.jsonl``, a scanned manifest of recorded videos; or a rendered one.

    Raises:
        InputError: neither is there, or it cannot be used.
    """
    manifest, rendered = data_dir / f"{split}.jsonl", data_dir / split
    if manifest.is_file():
        return VideoFolder(manifest)
    if (rendered / "meta.json").is_file():
        return SynthTalkSource(SynthTalk(rendered))
    limit = f"a manifest {manifest.name} (docs/data.md), or rendered data in {split}/"
    raise InputError("--data", data_dir, limit)


def open_sources(data_dir: Path) -> Mapping[Split, VideoSource]:
    """Both splits; errors as ``open_source``."""
    return {split: open_source(data_dir, split) for split in SPLITS}


def with_truth(source: VideoSource, field: str) -> SynthTalkSource:
    """A rendered source.

    Raises:
        InputError: recorded videos; ``field`` of the recipe asks for what only rendered ones know.
    """
    if not isinstance(source, SynthTalkSource):
        raise InputError(field, source.name, "rendered data: recorded videos do not know the truth")
    return source


def build_caches(
    sources: Mapping[Split, VideoSource],
    encoders: Encoders,
    plan: VideoPlan,
    places: Places,
    spec: StreamSpec,
) -> dict[Split, list[BucketCache]]:
    """The caches of both splits; what cannot be read is listed in the run's folder."""
    return {
        split: build_video_caches(
            source, encoders, plan, places.cache_dir, spec,
            SkipList(places.run_dir / f"skipped-{split}.jsonl"),
        )
        for split, source in sources.items()
    }  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """The beginning of a shot: true video [1, 3, T, H, W] in [-1, 1] and its sound."""

    video_BCTHW: Tensor
    shot: Shot


def scenes(source: VideoSource, caches: list[BucketCache], count: int, frames: int) -> list[Scene]:
    """The first shots of the largest bucket, at most ``frames`` of each."""
    bucket = max(caches, key=lambda cache: len(cache.good_U))
    found = []
    for place in bucket.good_U[:count]:
        shot = bucket.shots[int(place)]
        shown = held_frames(source, shot, 0, min(frames, shot.frames), bucket.size_hw)
        found.append(Scene(video_from_frames(shown), shot))
    return found


def liveliness(made_BCTHW: Tensor, true_BCTHW: Tensor) -> float:
    """Mean change from frame to frame over the true video's: 0 is a frozen picture."""
    return float(_change(made_BCTHW) / _change(true_BCTHW).clamp(min=1e-6))


def colour_drift(made_BCTHW: Tensor, spec: StreamSpec) -> float:
    """How far the mean colours of the last chunk are from the first's, of 255."""
    n = spec.new_frames
    first, last = (part.mean((2, 3, 4)) for part in (made_BCTHW[:, :, :n], made_BCTHW[:, :, -n:]))
    return float((last - first).abs().mean()) * 127.5


def _change(video_BCTHW: Tensor) -> Tensor:
    return torch.diff(video_BCTHW.float(), dim=2).abs().mean()
