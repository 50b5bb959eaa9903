"""SpeakerVid-5M: annotations of clips cut from YouTube videos (arXiv 2507.09862).

Verified in the project's own scripts (the one that writes the annotations and the one that cuts
clips by them): one JSON file per clip, named ``VIDEO_ID_full_video_..._NNN_SPEAKER.json``;
``bbox`` is left, top, right and bottom as shares of the whole picture; ``org_start_seconds`` and
``video_total_duration`` are the clip in the whole video; ``is_talking``. Whole videos are named
``VIDEO_ID.mp4``.

Reported by users only (issue 3 of the code's repository): published files lack
``org_start_seconds`` and have ``start_seconds`` and ``end_seconds`` instead, and ``start`` with
``duration`` for a shorter stretch that avoids errors of scene detection. All of these are
supported, and the variants are counted. Not verified: the fields of the captions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flashtalk.errors import InputError
from training.data.published.conversion import (
    Conversion,
    MissedError,
    below,
    files_by_stem,
    read_json,
    seconds,
)
from training.data.videos.manifest import Box, Entry

_SIZE_AT_END = re.compile(r"_\d+[x\u00d7]\d+$")
_SLACK_S = 0.1  # of the shorter stretch at the edges of the longer one
_SLACK_BOX = 0.02  # boxes may stick out of the picture by rounding


def convert_speakervid(
    annotations: Path,
    videos: Path,
    folder: Path,
    *,
    captions: Path | None = None,
    caption_fields: Sequence[str] = (),
    listeners: bool = False,
) -> Conversion:
    """Returns entries for the annotated clips whose whole video has been downloaded.

    Args:
        annotations: the extracted ``merged_anno`` folder.
        videos: whole videos named by their id.
        folder: of the manifest.
        captions: a folder with a JSON file of the same name for each clip.
        caption_fields: of these files, joined to a caption.
        listeners: also include people who listen.

    Raises:
        InputError: no such folder, or captions without the names of their fields.
    """
    if not annotations.is_dir():
        raise InputError("annotations", annotations, "must be the extracted folder merged_anno")
    if captions is not None and not caption_fields:
        seen = ", ".join(text_fields(captions)) or "none"
        limit = f"--caption-field NAME; fields with text in the first files: {seen}"
        raise InputError("captions", captions, limit)
    wholes = files_by_stem(videos)
    conversion = Conversion()
    for path in sorted(annotations.rglob("*.json")):

        def make(path: Path = path) -> Entry:
            record = _annotation(path)
            entry = _entry(record, path.stem, wholes, folder, conversion, listeners=listeners)
            caption = _caption(path, captions, caption_fields, conversion)
            return Entry(entry.path, "", caption, entry.start_s, entry.end_s, box=entry.box)

        conversion.take(make)
    return conversion


def text_fields(captions: Path, files: int = 20) -> list[str]:
    """Returns the names of text fields in the first files of a folder."""
    names: dict[str, None] = {}
    for path in sorted(captions.rglob("*.json"))[:files]:
        record = read_json(path)
        if isinstance(record, Mapping):
            names.update(dict.fromkeys(k for k, v in record.items() if isinstance(v, str)))
    return list(names)


def _annotation(path: Path) -> Mapping[str, Any]:
    try:
        record = read_json(path)
    except InputError as error:
        raise MissedError("a file that is not JSON") from error
    if not isinstance(record, Mapping):
        raise MissedError("a file that holds no object")
    return record


def _entry(
    record: Mapping[str, Any],
    name: str,
    wholes: Mapping[str, Path],
    folder: Path,
    conversion: Conversion,
    *,
    listeners: bool,
) -> Entry:
    if "is_talking" not in record:
        conversion.notes["no is_talking: taken as talking"] += 1
    elif not record["is_talking"] and not listeners:
        raise MissedError("listening, not talking")
    if "_full_video" not in name:
        raise MissedError("a name without _full_video")
    video = _SIZE_AT_END.sub("", name.split("_full_video")[0])
    if video not in wholes:
        raise MissedError("not downloaded")
    start_s, end_s = _stretch(record, conversion)
    return Entry(below(wholes[video], folder), start_s=start_s, end_s=end_s, box=_box(record))


def _stretch(record: Mapping[str, Any], conversion: Conversion) -> tuple[float, float]:
    """Returns the shorter stretch if it is inside the longer one, else the longer one."""
    longer = _longer(record)
    start_s, length_s = seconds(record, "start"), seconds(record, "duration")
    if start_s is None or length_s is None or length_s <= 0 or start_s < 0:
        if longer is None:
            raise MissedError("no stretch of time")
        conversion.notes["no start and duration: the longer stretch"] += 1
        return longer
    shorter = (start_s, start_s + length_s)
    if longer is None:
        return shorter
    if shorter[0] < longer[0] - _SLACK_S or shorter[1] > longer[1] + _SLACK_S:
        conversion.notes["start and duration outside of the clip: the longer stretch"] += 1
        return longer
    return shorter


def _longer(record: Mapping[str, Any]) -> tuple[float, float] | None:
    start_s = seconds(record, "org_start_seconds")
    if start_s is None:
        start_s = seconds(record, "start_seconds")
    if start_s is None or start_s < 0:
        return None
    end_s = seconds(record, "end_seconds")
    length_s = seconds(record, "video_total_duration")
    if end_s is None and length_s is not None:
        end_s = start_s + length_s
    return (start_s, end_s) if end_s is not None and end_s > start_s else None


def _box(record: Mapping[str, Any]) -> Box:
    given = record.get("bbox")
    try:
        left, top, right, bottom = (float(side) for side in given)  # type: ignore[union-attr]
    except (TypeError, ValueError) as error:
        raise MissedError("no bbox of four numbers") from error
    inside = all(-_SLACK_BOX <= side <= 1 + _SLACK_BOX for side in (left, top, right, bottom))
    if not inside or left >= right or top >= bottom:
        raise MissedError("a bbox that is not left, top, right, bottom in shares of the picture")
    return max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0)


def _caption(
    path: Path, captions: Path | None, fields: Sequence[str], conversion: Conversion
) -> str:
    if captions is None:
        return ""
    file = captions / path.name
    if not file.exists():
        conversion.notes["no file of captions: the caption is empty"] += 1
        return ""
    record = _annotation(file)
    texts = [record[name].strip() for name in fields if isinstance(record.get(name), str)]
    if len(texts) < len(fields):
        conversion.notes["a field of the caption is missing"] += 1
    return " ".join(text for text in texts if text)
