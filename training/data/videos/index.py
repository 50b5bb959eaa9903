"""The index of a scanned manifest, which training opens instead of decoding every file.

A file of JSON lines beside the manifest. The first line describes the scan; each other line is the
result of one entry, in order: the properties of the video, or the reason why it is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flashtalk.errors import InputError
from flashtalk.validation import validate
from training.data.videos.manifest import Entry
from training.data.videos.problems import Reason

INDEX_VERSION = 1


@dataclass(frozen=True)
class ScanConfig:
    """The requirements for a video.

    Args:
        fewest_frames: of its longest shot, at 25 fps. 66 are two adjacent clips, so that each clip
            of a shot has a reference outside of it.
        smallest_px: shorter side, after cropping.
        silent_peak: sound with a lower peak, of full scale 1, counts as missing.
        least_heard: minimum share of the video with sound.
        quick: decodes only where necessary; damage inside the file is then found when a clip is
            read.
    """

    fewest_frames: int = 66
    smallest_px: int = 256
    silent_peak: float = 1e-3
    least_heard: float = 0.9
    quick: bool = False

    def __post_init__(self) -> None:
        if self.fewest_frames < 34:
            raise InputError("fewest_frames", self.fewest_frames, "at least 34: a clip and a frame")
        if self.smallest_px < 1:
            raise InputError("smallest_px", self.smallest_px, "at least 1")
        if not 0 <= self.least_heard <= 1:
            raise InputError("least_heard", self.least_heard, "between 0 and 1")


@dataclass(frozen=True, slots=True)
class Scanned:
    """The properties of a usable video.

    Args:
        offset, size: position of its bytes in the file or shard.
        digest: of these bytes.
        zero_s: time of its first picture on the file's clock.
        fps: of the file.
        frames: at 25 fps, from the entry's start to its end.
        size_hw: in pixels, upright and cropped.
        shots: first frame and end of each stretch without a cut, at 25 fps.
    """

    offset: int
    size: int
    digest: str
    zero_s: float
    fps: float
    frames: int
    size_hw: tuple[int, int]
    shots: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class LeftOut:
    """The reason why a video is not used."""

    reason: Reason
    detail: str


Result = Scanned | LeftOut


def index_path(manifest: Path) -> Path:
    """Returns the path of a manifest's index."""
    return manifest.with_name(f"{manifest.name}.index")


def header(digest: str, config: ScanConfig) -> dict[str, Any]:
    """Returns the first line of an index, which differs between scans."""
    return {"version": INDEX_VERSION, "manifest": digest, "config": asdict(config)}


def result_line(entry: Entry, result: Result) -> str:
    """Returns the line of one entry."""
    return json.dumps({"key": entry.key, **asdict(result)}, ensure_ascii=False)


def read_results(path: Path, expected: Mapping[str, Any] | None) -> list[Result]:
    """Reads the results of a finished or unfinished index.

    An incomplete line of an interrupted scan, and all lines after it, are ignored.

    Args:
        path: of the finished or unfinished index.
        expected: the header; ``None`` accepts any of this version.

    Raises:
        InputError: no index, of another version, or of another manifest or scan; an invalid line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        limit = "no index; create it with python -m training.data.scan"
        raise InputError("index", path, limit) from error
    found = _decoded(lines[0])
    if found is None or found.get("version") != INDEX_VERSION:
        raise InputError(
            "index", path, f"must have version {INDEX_VERSION}; scan the manifest again"
        )
    if expected is not None and found != dict(expected):
        raise InputError(
            "index", path, "is of another manifest or other limits; scan the manifest again"
        )
    results: list[Result] = []
    for line in lines[1:]:
        record = _decoded(line)
        if record is None:
            break
        where = f"{path.name}: {record.pop('key', '')}"
        kind: type[Result] = LeftOut if "reason" in record else Scanned
        results.append(validate(kind, record, where))
    return results


def read_header(path: Path) -> dict[str, Any]:
    """Returns the first line of an index that ``read_results`` accepts."""
    with path.open(encoding="utf-8") as lines:
        return _decoded(lines.readline()) or {}


def _decoded(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None
