"""Beginnings of true videos, and metrics of a student's videos without any probe.

Legend: T frames, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flashtalk.arrays import Frames
from flashtalk.streaming.spec import StreamSpec
from training.data.cache import BucketCache
from training.data.clips import video_from_frames
from training.data.source.video import VideoSource
from training.data.units import Shot, held_frames


@dataclass(frozen=True)
class Scene:
    """The beginning of a shot: true frames, uint8 [T, H, W, 3], and its sound."""

    frames_THWC: Frames
    shot: Shot

    @property
    def video_BCTHW(self) -> Tensor:
        """Returns the frames in [-1, 1], [1, 3, T, H, W]."""
        return video_from_frames(self.frames_THWC)


def scenes(source: VideoSource, caches: list[BucketCache], count: int, frames: int) -> list[Scene]:
    """Returns the first shots of the largest bucket, at most ``frames`` of each."""
    bucket = max(caches, key=lambda cache: len(cache.good_U))
    found = []
    for place in bucket.good_U[:count]:
        shot = bucket.shots[int(place)]
        shown = held_frames(source, shot, 0, min(frames, shot.frames), bucket.size_hw)
        found.append(Scene(shown, shot))
    return found


def liveliness(made_BCTHW: Tensor, true_BCTHW: Tensor) -> float:
    """Returns the mean change from frame to frame over the true video's: 0 is a frozen picture."""
    return float(_change(made_BCTHW) / _change(true_BCTHW).clamp(min=1e-6))


def colour_drift(made_BCTHW: Tensor, spec: StreamSpec) -> float:
    """Returns the distance of the last chunk's mean colours from the first's, of 255."""
    n = spec.new_frames
    first, last = (part.mean((2, 3, 4)) for part in (made_BCTHW[:, :, :n], made_BCTHW[:, :, -n:]))
    return float((last - first).abs().mean()) * 127.5


def _change(video_BCTHW: Tensor) -> Tensor:
    return torch.diff(video_BCTHW.float(), dim=2).abs().mean()
