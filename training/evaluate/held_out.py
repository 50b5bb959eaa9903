"""Held-out clips from SynthTalk caches, built if they are missing.

Legend: T frames at 25 fps, H W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from flashtalk.arrays import BoolArray, FloatArray, Frames, IntArray
from flashtalk.errors import InputError
from training.data.synthtalk.cache import SynthTalk, build_cache
from training.data.synthtalk.phonemes import SILENCE
from training.data.synthtalk.regions import background_mask, mouth_box
from training.data.synthtalk.renderer import render
from training.data.synthtalk.tracks import TRACK_COLUMNS
from training.data.synthtalk.utterance import SynthTalkConfig
from training.evaluate.reference_clip import ReferenceClip

LONG_FROM_S = 30.0


@dataclass(frozen=True)
class ClipSet:
    """The first ``count`` clips of ``seconds`` of a cache, loaded on access."""

    data: SynthTalk
    count: int
    seconds: float

    def __post_init__(self) -> None:
        if self.count > len(self.data):
            raise InputError("count", self.count, f"at most the cache's {len(self.data)} clips")
        if self.seconds > self.data.config.seconds:
            raise InputError("seconds", self.seconds, f"at most {self.data.config.seconds}")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> ReferenceClip:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return load_clip(self.data, index, self.seconds)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Returns height and width in pixels."""
        return self.data.config.size_hw


def load_clip(data: SynthTalk, index: int, seconds: float) -> ReferenceClip:
    """Returns the first ``seconds`` of an utterance with its masks."""
    frames = round(seconds * data.config.frames / data.config.seconds)
    piece = data.clip(index, 0, frames)
    identity = data.identity(index)
    size_hw = data.config.size_hw

    def background_under(tracks_TK: FloatArray) -> BoolArray:
        # Bodies move little in 0.2 s and the mask is eroded: every fifth frame is enough.
        untouched_HW = background_mask(tracks_TK[::5], identity, size_hw)
        return _eroded(untouched_HW, margin_px=max(1, size_hw[0] // 32))

    def drawn_under(tracks_TK: FloatArray) -> Frames:
        return render(identity, tracks_TK, size_hw)

    return ReferenceClip(
        name=f"{data.config.split} {index}",
        pcm_N=piece.pcm_16k,
        frames_THWC=piece.frames,
        tracks_TK=piece.tracks,
        track_names=TRACK_COLUMNS,
        silent_T=piece.phoneme_ids == SILENCE,
        mouth_THW=_box_mask(mouth_box(piece.tracks, identity, size_hw), size_hw),
        background_HW=background_under(piece.tracks),
        caption=data.captions[index],
        background_under=background_under,
        drawn_under=drawn_under,
    )


def _box_mask(box_T4: IntArray, size_hw: tuple[int, int]) -> BoolArray:
    top, left, bottom, right = (edge[:, None, None] for edge in box_T4.T)
    row_H1 = np.arange(size_hw[0])[:, None]
    col_W = np.arange(size_hw[1])
    inside_THW = (row_H1 >= top) & (row_H1 < bottom) & (col_W >= left) & (col_W < right)
    return np.asarray(inside_THW, np.bool_)


def _eroded(mask_HW: BoolArray, *, margin_px: int) -> BoolArray:
    """Erodes the mask by ``margin_px`` at its inner edges, which a blurred video crosses."""
    outside_1HW = torch.from_numpy(~mask_HW).float()[None]
    grown_1HW = F.max_pool2d(outside_1HW, 2 * margin_px + 1, stride=1, padding=margin_px)
    return np.asarray(grown_1HW[0].numpy() < 0.5, np.bool_)


def open_clips(
    folders: Sequence[Path],
    cache_root: Path,
    *,
    split: str,
    count: int,
    seconds: float,
    size_hw: tuple[int, int],
) -> ClipSet:
    """Returns ``count`` clips of ``seconds`` from the first suitable folder, else a new cache.

    A folder counts as long if its utterances have 30 s or more; short clips are never cut from
    long utterances nor the other way round, since the long ones have no long silences.
    """
    is_long = seconds >= LONG_FROM_S
    for folder in folders:
        data = SynthTalk(folder)
        config = data.config
        if (config.seconds >= LONG_FROM_S) == is_long and config.seconds >= seconds:
            if config.split == "train":
                raise InputError("data", folder, "must be held-out data (val or test), not train")
            return ClipSet(data, min(count, len(data)), seconds)
    config = SynthTalkConfig(
        split=split, count=count, seconds=seconds, size_hw=size_hw, long_silences=not is_long
    )
    name = f"{split}-{size_hw[0]}x{size_hw[1]}-{seconds:g}s-{count}"
    return ClipSet(SynthTalk(build_cache(config, cache_root / name)), count, seconds)
