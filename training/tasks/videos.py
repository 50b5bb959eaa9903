"""Sources of videos by split, and what can be measured on a student's videos without any probe.

Legend: T frames, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec
from training.data.clips import video_from_frames
from training.data.source import Frames, Unit, VideoSource, held_frames
from training.data.synthtalk import SynthTalk
from training.data.synthtalk_source import SynthTalkSource
from training.data.video_cache import BucketCache
from training.data.videos.folder import VideoFolder


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


@dataclass(frozen=True)
class Scene:
    """The beginning of a shot: true frames, uint8 [T, H, W, 3], and its sound."""

    frames_THWC: Frames
    unit: Unit

    @property
    def video_BCTHW(self) -> Tensor:
        """The same in [-1, 1], [1, 3, T, H, W]."""
        return video_from_frames(self.frames_THWC)


def scenes(source: VideoSource, caches: list[BucketCache], count: int, frames: int) -> list[Scene]:
    """The first shots of the largest bucket, at most ``frames`` of each."""
    bucket = max(caches, key=lambda cache: len(cache.good_U))
    found = []
    for place in bucket.good_U[:count]:
        unit = bucket.units[int(place)]
        shown = held_frames(source, unit, 0, min(frames, unit.frames), bucket.size_hw)
        found.append(Scene(shown, unit))
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
