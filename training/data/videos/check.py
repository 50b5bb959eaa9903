"""Checks one entry of a manifest: whether training can use it, and its properties."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from flashtalk.presets import PUBLISHED
from flashtalk.streaming import FPS, preset_spec
from training.data.buckets import SizeHW
from training.data.videos.index import LeftOut, Result, ScanConfig, Scanned
from training.data.videos.manifest import Box, Entry
from training.data.videos.media_file import MediaFile
from training.data.videos.pictures import Survey, glance, survey
from training.data.videos.problems import BadVideoError
from training.data.videos.sound import sound_between

_PER_FRAME = preset_spec(PUBLISHED).samples_per_frame

# Lengths in published lists are rounded; a stretch that ends later than its file by more than this
# belongs to another file.
_ROUNDING_S = 0.5
# Adjacent shots overlap only by rounding; frames at the edge may already show the other shot.
_EDGE_FRAMES = 1
_SOUND_FRAMES = 60 * FPS  # checked together, since an hour of sound needs much memory


def media_of(entry: Entry, folder: Path) -> MediaFile:
    """Returns the bytes of an entry. Raises BadVideoError if they are missing."""
    if entry.shard:
        return MediaFile.find(folder / entry.shard, entry.path)
    return MediaFile.find(folder / entry.path)


def check_entry(entry: Entry, folder: Path, config: ScanConfig) -> Result:
    """Decodes the part of a video that an entry names; reports errors in it without raising."""
    try:
        return _scanned(entry, folder, config)
    except BadVideoError as error:
        return LeftOut(error.reason, error.detail)


def _scanned(entry: Entry, folder: Path, config: ScanConfig) -> Scanned:
    media = media_of(entry, folder)
    look = glance if config.quick else survey
    seen = look(media, entry.start_s, entry.end_s)
    if seen.corrupt:
        raise BadVideoError("corrupt", entry.key, f"{seen.corrupt} damaged pictures")
    end_s = _end(entry, seen)
    frames = math.floor((end_s - entry.start_s) * FPS + 1e-6)
    size_hw = cropped_size(seen.size_hw, entry.box)
    if min(size_hw) < config.smallest_px:
        detail = f"{size_hw[1]}x{size_hw[0]}, at least {config.smallest_px} a side are needed"
        raise BadVideoError("too small", entry.key, detail)
    shots = _shots(entry, seen, frames)
    longest = max((end - first for first, end in shots), default=0)
    if longest < config.fewest_frames:
        detail = f"longest shot has {longest} frames, {config.fewest_frames} are needed"
        raise BadVideoError("too short", entry.key, detail)
    _check_sound(entry, media, seen, frames, config)
    return Scanned(
        offset=media.offset,
        size=media.size,
        digest=media.digest(),
        zero_s=seen.zero_s,
        fps=round(seen.fps, 3),
        frames=frames,
        size_hw=size_hw,
        shots=shots,
    )


def cropped_size(size_hw: SizeHW, box: Box) -> SizeHW:
    """Returns height and width in pixels of a box in a picture."""
    (top, bottom), (left, right) = box_rows(size_hw[0], box), box_columns(size_hw[1], box)
    return bottom - top, right - left


def box_rows(height: int, box: Box) -> tuple[int, int]:
    """Returns the first row and the end of a box."""
    return round(box[1] * height), round(box[3] * height)


def box_columns(width: int, box: Box) -> tuple[int, int]:
    """Returns the first column and the end of a box."""
    return round(box[0] * width), round(box[2] * width)


def _end(entry: Entry, seen: Survey) -> float:
    if entry.end_s is None:
        return seen.end_s
    if entry.end_s > seen.end_s + _ROUNDING_S:
        detail = f"ends at {entry.end_s:.2f} s, where the pictures end at {seen.end_s:.2f} s"
        raise BadVideoError("outside", entry.key, detail)
    return min(entry.end_s, seen.end_s)


def _shots(entry: Entry, seen: Survey, frames: int) -> tuple[tuple[int, int], ...]:
    """Returns shots at 25 fps from the entry's start, without frames that straddle a cut."""
    spans = entry.shots_s or tuple(
        (first / seen.fps, end / seen.fps) for first, end in entry.shot_frames
    )
    if not spans:
        return ((0, frames),)
    shots = []
    for first_s, end_s in spans:
        first = math.ceil((first_s - entry.start_s) * FPS - 1e-6)
        end = math.floor((end_s - entry.start_s) * FPS + 1e-6)
        # The nearest picture in time may be across a cut, up to half a picture's time away.
        first = 0 if first <= 0 else first + _EDGE_FRAMES
        end = frames if end >= frames else end - _EDGE_FRAMES
        if first < end:
            shots.append((first, end))
    return tuple(shots)


def _check_sound(
    entry: Entry, media: MediaFile, seen: Survey, frames: int, config: ScanConfig
) -> None:
    heard, peak = 0.0, 0.0
    for first in range(0, frames, _SOUND_FRAMES):
        count = min(_SOUND_FRAMES, frames - first)
        begin_s = seen.zero_s + entry.start_s + first / FPS
        sound = sound_between(media, begin_s, count * _PER_FRAME)
        heard += sound.heard * count / frames
        peak = max(peak, float(np.abs(sound.pcm_S).max(initial=0.0)))
    if heard < config.least_heard:
        detail = f"the track covers {heard:.0%}, {config.least_heard:.0%} are needed"
        raise BadVideoError("no sound", entry.key, detail)
    if peak < config.silent_peak:
        raise BadVideoError("silent", entry.key, f"peak {peak:.1e} of full scale")
