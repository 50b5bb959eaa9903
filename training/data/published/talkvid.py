"""TalkVid: a list of clips of YouTube videos with captions (arXiv 2508.13618).

Verified in the project's own README and download script: the metadata is one JSON list; the used
fields of each record are ``start-time`` and ``end-time`` (seconds of the whole video),
``description``, and ``info`` / ``Video Link``. The download script writes clips to
``VIDEO_ID/VIDEO_ID_NNN_START_END.mp4``, times with three digits. Some records have times beyond
their video (issue 5 of that project); the scan skips them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flashtalk.errors import InputError
from training.data.published.conversion import (
    Conversion,
    MissedError,
    below,
    read_json,
    seconds,
    video_files,
)
from training.data.videos.manifest import Entry

_CLIP_NAME = re.compile(r"(?P<id>.+)_\d+_(?P<start>\d+\.\d+)_(?P<end>\d+\.\d+)")
_VIDEO_ID = re.compile(r"(?:[?&]v=|youtu\.be/|/shorts/|/embed/)([\w-]{11})")

ClipTimes = tuple[str, int, int]


def convert_talkvid(metadata: Path, videos: Path, folder: Path) -> Conversion:
    """Returns entries for the records whose clip, or whose whole video, has been downloaded.

    Args:
        metadata: ``filtered_video_clips.json`` or ``..._with_captions.json``.
        videos: output of the project's download script, or whole videos named ``VIDEO_ID.mp4``.
        folder: of the manifest.

    Raises:
        InputError: not a JSON list, or videos outside of the folder.
    """
    records = read_json(metadata)
    if not isinstance(records, list):
        raise InputError("metadata", metadata, "must be a JSON list of clips")
    clips, wholes = _downloaded(videos)
    conversion = Conversion()
    for record in records:
        conversion.take(lambda record=record: _entry(record, clips, wholes, folder, conversion))  # type: ignore[misc]
    return conversion


def _entry(
    record: Mapping[str, Any],
    clips: Mapping[ClipTimes, Path],
    wholes: Mapping[str, Path],
    folder: Path,
    conversion: Conversion,
) -> Entry:
    if not isinstance(record, Mapping):
        raise MissedError("not an object")
    info = record.get("info")
    link = info.get("Video Link") if isinstance(info, Mapping) else None
    found = _VIDEO_ID.search(link) if isinstance(link, str) else None
    if found is None:
        raise MissedError("no YouTube address in info / Video Link")
    start_s, end_s = seconds(record, "start-time"), seconds(record, "end-time")
    if start_s is None or end_s is None or not 0 <= start_s < end_s:
        raise MissedError("start-time and end-time are not a stretch of time")
    caption = record.get("description")
    if not isinstance(caption, str) or not caption.strip():
        caption = ""
        conversion.notes["no description: the caption is empty"] += 1
    for clip in _near(found[1], start_s, end_s):
        if clip in clips:
            # Cut at its times by the download script: the file is the clip.
            return Entry(path=below(clips[clip], folder), caption=caption.strip())
    if found[1] in wholes:
        path = below(wholes[found[1]], folder)
        return Entry(path=path, caption=caption.strip(), start_s=start_s, end_s=end_s)
    raise MissedError("not downloaded")


def _downloaded(videos: Path) -> tuple[dict[ClipTimes, Path], dict[str, Path]]:
    """Returns clips by video and times in milliseconds, and whole videos by their id."""
    clips: dict[ClipTimes, Path] = {}
    wholes: dict[str, Path] = {}
    for path in video_files(videos):
        name = _CLIP_NAME.fullmatch(path.stem)
        if name is None:
            wholes.setdefault(path.stem, path)
        else:
            times = (round(1000 * float(name["start"])), round(1000 * float(name["end"])))
            clips.setdefault((name["id"], *times), path)
    return clips, wholes


def _near(video: str, start_s: float, end_s: float) -> Iterable[ClipTimes]:
    """Returns possible names of a clip's file: times are rounded to milliseconds, up or down."""
    for start in (math.floor(1000 * start_s + 1e-6), math.ceil(1000 * start_s - 1e-6)):
        for end in (math.floor(1000 * end_s + 1e-6), math.ceil(1000 * end_s - 1e-6)):
            yield video, start, end
