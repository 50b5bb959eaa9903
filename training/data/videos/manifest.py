"""Manifests: JSON lines, one video or one shot of a video per line (docs/data.md)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from flashtalk.errors import InputError

Box = tuple[float, float, float, float]

FIELDS = ("path", "shard", "caption", "start", "end", "shots", "shot_frames", "box")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a manifest.

    Args:
        path: of the video, relative to the manifest; inside the shard if there is one.
        shard: a tar archive, relative to the manifest; empty for plain files.
        caption: a description, may be empty.
        start_s, end_s: the used part of the video, seconds from its first picture; ``None`` is its
            end.
        shots_s: beginning and end of each stretch without a cut, seconds from the first picture
            of the video; empty: no cuts.
        shot_frames: the same as numbers of the file's own pictures, the end exclusive.
        box: left, top, right and bottom of the used part of the picture, as shares of its width and
            height, upright.
    """

    path: str
    shard: str = ""
    caption: str = ""
    start_s: float = 0.0
    end_s: float | None = None
    shots_s: tuple[tuple[float, float], ...] = ()
    shot_frames: tuple[tuple[int, int], ...] = ()
    box: Box = (0.0, 0.0, 1.0, 1.0)

    @property
    def key(self) -> str:
        """Returns its name in messages and lists; unique among the shots of one file."""
        name = f"{self.shard}:{self.path}" if self.shard else self.path
        if self.start_s == 0.0 and self.end_s is None:
            return name
        return f"{name}@{self.start_s:g}-{'' if self.end_s is None else f'{self.end_s:g}'}"

    def record(self) -> dict[str, Any]:
        """Returns the fields of its line, without default values."""
        written: dict[str, Any] = {"path": self.path}
        if self.shard:
            written["shard"] = self.shard
        if self.caption:
            written["caption"] = self.caption
        if self.start_s:
            written["start"] = self.start_s
        if self.end_s is not None:
            written["end"] = self.end_s
        if self.shots_s:
            written["shots"] = [list(shot) for shot in self.shots_s]
        if self.shot_frames:
            written["shot_frames"] = [list(shot) for shot in self.shot_frames]
        if self.box != (0.0, 0.0, 1.0, 1.0):
            written["box"] = list(self.box)
        return written

    @classmethod
    def parse(cls, record: object, where: str) -> Entry:
        """Creates an entry from a decoded line.

        Args:
            record: the fields of the line.
            where: the line's name in errors (``manifest.jsonl line 3``).

        Raises:
            InputError: names the line, the field, the value and the limit.
        """
        if not isinstance(record, Mapping):
            raise InputError(where, record, "must be a JSON object with at least a path")
        for name in record:
            if name not in FIELDS:
                raise InputError(f"{where}: {name}", record[name], f"one of {', '.join(FIELDS)}")
        entry = cls(
            path=_relative(record.get("path"), f"{where}: path"),
            shard=_relative(record["shard"], f"{where}: shard") if record.get("shard") else "",
            caption=_text(record.get("caption", ""), f"{where}: caption"),
            start_s=_number(record.get("start", 0.0), f"{where}: start", 0.0),
            end_s=None if record.get("end") is None else _number(record["end"], f"{where}: end"),
            shots_s=tuple(
                (_number(a, f"{where}: shots", 0.0), _number(b, f"{where}: shots"))
                for a, b in _pairs(record.get("shots"), f"{where}: shots")
            ),
            shot_frames=tuple(
                (_whole(a, f"{where}: shot_frames"), _whole(b, f"{where}: shot_frames"))
                for a, b in _pairs(record.get("shot_frames"), f"{where}: shot_frames")
            ),
            box=_box(record.get("box"), f"{where}: box"),
        )
        entry._check(where)
        return entry

    def _check(self, where: str) -> None:
        if self.end_s is not None and self.end_s <= self.start_s:
            raise InputError(
                f"{where}: end", self.end_s, f"must be later than start ({self.start_s})"
            )
        if self.shots_s and self.shot_frames:
            limit = "give either seconds (shots) or frame indices (shot_frames), not both"
            raise InputError(f"{where}: shots", self.shots_s, limit)
        for field, shots in (("shots", self.shots_s), ("shot_frames", self.shot_frames)):
            latest: float = 0
            for first, end in shots:
                if not latest <= first < end:
                    raise InputError(
                        f"{where}: {field}", (first, end), "must be ascending and not overlap"
                    )
                latest = end


def parse_lines(lines: Iterable[str], name: str) -> Iterator[Entry]:
    """Yields the entries of a manifest; skips empty lines.

    Raises:
        InputError: names the line, the field, the value and the limit.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{name} line {number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(where, line.strip()[:60], f"must be valid JSON ({error})") from error
        yield Entry.parse(record, where)


def read_manifest(path: Path) -> list[Entry]:
    """Returns all entries of a manifest file.

    Raises:
        InputError: a missing file, an invalid line, or no entries.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            entries = list(parse_lines(lines, path.name))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError("manifest", path, f"not a readable text file ({reason})") from error
    if not entries:
        raise InputError("manifest", path, "must have at least one line")
    return entries


def write_manifest(path: Path, entries: Iterable[Entry]) -> int:
    """Writes a manifest atomically; returns its number of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, count = path.with_name(f"{path.name}.partial"), 0
    with partial.open("w", encoding="utf-8") as lines:
        for entry in entries:
            lines.write(json.dumps(entry.record(), ensure_ascii=False) + "\n")
            count += 1
    partial.replace(path)
    return count


def manifest_digest(entries: Iterable[Entry]) -> str:
    """Returns a digest of a manifest's contents, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(json.dumps(entry.record(), sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise InputError(field, value, "must be a string")
    return value


def _relative(value: object, field: str) -> str:
    """Returns a path below the manifest's folder: an untrusted manifest must not name others."""
    if not isinstance(value, str) or not value:
        raise InputError(field, value, "must be a path relative to the manifest")
    parts = PurePosixPath(value)
    if parts.is_absolute() or ".." in parts.parts or "\0" in value:
        raise InputError(field, value, "must be a path below the manifest's folder")
    return value


def _number(value: object, field: str, least: float | None = None) -> float:
    wrong = isinstance(value, bool) or not isinstance(value, (int, float))
    if wrong or not math.isfinite(value):  # type: ignore[arg-type]
        raise InputError(field, value, "must be a number of seconds")
    number = float(value)  # type: ignore[arg-type]
    if least is not None and number < least:
        raise InputError(field, value, f"at least {least:g}")
    return number


def _whole(value: object, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(field, value, "must be an integer, at least 0")
    return value


def _pairs(value: object, field: str) -> Iterator[tuple[object, object]]:
    if value is None:
        return
    if not isinstance(value, list):
        raise InputError(field, value, "must be a list of [start, end]")
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise InputError(field, pair, "must be [start, end]")
        yield pair[0], pair[1]


def _box(value: object, field: str) -> Box:
    if value is None:
        return (0.0, 0.0, 1.0, 1.0)
    if not isinstance(value, list) or len(value) != 4:
        raise InputError(
            field, value, "must be [left, top, right, bottom] as fractions of the picture"
        )
    left, top, right, bottom = (_number(part, field) for part in value)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise InputError(field, value, "0 <= left < right <= 1 and 0 <= top < bottom <= 1")
    return left, top, right, bottom
