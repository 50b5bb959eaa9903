"""A scanned manifest of recorded videos as a ``VideoSource``.

Legend: T frames at 25 fps, H W pixels, S samples at 16 kHz.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flashtalk.arrays import BoolArray, Frames, Pcm, Rgb
from flashtalk.errors import InputError
from flashtalk.media.image import cover
from flashtalk.presets import PUBLISHED
from flashtalk.streaming import preset_spec
from training.data.buckets import SizeHW
from training.data.source.video import VideoFacts, check_range, quiet_by_loudness
from training.data.videos.check import box_columns, box_rows
from training.data.videos.index import LeftOut, Scanned, index_path, read_header, read_results
from training.data.videos.manifest import Entry, manifest_digest, read_manifest
from training.data.videos.media_file import MediaFile
from training.data.videos.pictures import frames_at
from training.data.videos.sound import sound_between

_SPEC = preset_spec(PUBLISHED)


@dataclass(frozen=True, slots=True)
class _Video:
    entry: Entry
    scanned: Scanned


class VideoFolder:
    """The usable videos of a manifest, read through the index of a scan.

    Args:
        manifest: a scanned manifest; paths in it are relative to its folder.

    Attributes:
        left_out: number of entries that the scan skipped, by reason.

    Raises:
        InputError: no manifest, no index or one of another manifest, an unfinished scan, or no
            usable video.
    """

    def __init__(self, manifest: Path) -> None:
        self._folder = manifest.parent
        entries = read_manifest(manifest)
        path = index_path(manifest)
        results = read_results(path, None)
        if read_header(path).get("manifest") != manifest_digest(entries):
            raise InputError("index", path, "the manifest has changed; scan it again")
        if len(results) != len(entries):
            limit = (
                f"the scan is not finished: {len(results)} of {len(entries)} lines are "
                "checked; scan again"
            )
            raise InputError("index", path, limit)
        self.left_out = Counter(result.reason for result in results if isinstance(result, LeftOut))
        self._videos = [
            _Video(entry, result)
            for entry, result in zip(entries, results, strict=True)
            if isinstance(result, Scanned)
        ]
        if not self._videos:
            raise InputError(
                "manifest", manifest, f"contains no usable video; skipped: {self.left_out}"
            )
        self._name = manifest.stem
        self._digest = self._digest_of_all()

    @property
    def name(self) -> str:
        """Returns the manifest's name."""
        return self._name

    @property
    def digest(self) -> str:
        """Returns a digest of the bytes of all videos and of their manifest entries."""
        return self._digest

    def __len__(self) -> int:
        return len(self._videos)

    def facts(self, index: int) -> VideoFacts:
        """Returns the facts of a video from the index."""
        entry, scanned = self._videos[index].entry, self._videos[index].scanned
        return VideoFacts(entry.key, scanned.frames, scanned.size_hw, entry.caption, scanned.shots)

    def frames(self, index: int, first: int, count: int, size_hw: SizeHW) -> Frames:
        """Returns frames; at each time the picture nearest in time."""
        check_range(self.facts(index), first, count)
        video = self._videos[index]
        box = video.entry.box

        def fit(picture_HWC: Rgb) -> Rgb:
            top, bottom = box_rows(picture_HWC.shape[0], box)
            left, right = box_columns(picture_HWC.shape[1], box)
            return cover(picture_HWC[top:bottom, left:right], size_hw)

        times = self._begin_s(video) + (first + np.arange(count)) / _SPEC.fps
        return frames_at(self._media(video), times.tolist(), fit)

    def pcm(self, index: int, first: int, count: int) -> Pcm:
        """Returns the sound of frames."""
        check_range(self.facts(index), first, count)
        video = self._videos[index]
        begin_s = self._begin_s(video) + first / _SPEC.fps
        return sound_between(self._media(video), begin_s, count * _SPEC.samples_per_frame).pcm_S

    def quiet(self, index: int, first: int, count: int) -> BoolArray:
        """Returns which frames have no speech, by loudness; bool [count]."""
        return quiet_by_loudness(self.pcm(index, first, count), _SPEC)

    def _begin_s(self, video: _Video) -> float:
        """Returns the time of the first frame on the file's clock."""
        return video.scanned.zero_s + video.entry.start_s

    def _media(self, video: _Video) -> MediaFile:
        """Opens a video by its offset in the index, without searching its shard again."""
        entry, scanned = video.entry, video.scanned
        path, member = (entry.shard, entry.path) if entry.shard else (entry.path, "")
        return MediaFile(self._folder / path, member, scanned.offset, scanned.size)

    def _digest_of_all(self) -> str:
        digest = hashlib.sha256()
        for video in self._videos:
            scanned = video.scanned
            said = [video.entry.record(), scanned.digest, scanned.zero_s, scanned.frames]
            digest.update(json.dumps([*said, scanned.shots], sort_keys=True).encode())
        return digest.hexdigest()[:16]
