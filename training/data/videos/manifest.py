"""Manifests: JSON lines, one video or one shot of a video per line (docs/data.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import Field

from flashtalk.errors import InputError
from flashtalk.validation import adapter, validate

Box = tuple[float, float, float, float]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PictureNumber = Annotated[int, Field(ge=0)]
_SECONDS = "a number of seconds, at least 0"
_NULLABLE = ("shard", "shots", "shot_frames", "box")


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

    path: Annotated[str, Field(description="a path relative to the manifest")]
    shard: Annotated[str, Field(description="a path relative to the manifest")] = ""
    caption: Annotated[str, Field(description="a text")] = ""
    start_s: Annotated[Seconds, Field(alias="start", description=_SECONDS)] = 0.0
    end_s: Annotated[Seconds | None, Field(alias="end", description=_SECONDS)] = None
    shots_s: Annotated[
        tuple[tuple[Seconds, Seconds], ...],
        Field(alias="shots", description="a list of [beginning, end] in seconds, at least 0"),
    ] = ()
    shot_frames: Annotated[
        tuple[tuple[PictureNumber, PictureNumber], ...],
        Field(description="a list of [beginning, end], each a whole number, at least 0"),
    ] = ()
    box: Annotated[
        Box, Field(description="[left, top, right, bottom] as shares of the picture")
    ] = (0.0, 0.0, 1.0, 1.0)

    @property
    def key(self) -> str:
        """Returns its name in messages and lists; unique among the shots of one file."""
        name = f"{self.shard}:{self.path}" if self.shard else self.path
        if self.start_s == 0.0 and self.end_s is None:
            return name
        return f"{name}@{self.start_s:g}-{'' if self.end_s is None else f'{self.end_s:g}'}"

    def record(self) -> dict[str, Any]:
        """Returns the fields of its line, without default values."""
        written: dict[str, Any] = adapter(Entry).dump_python(
            self, mode="json", by_alias=True, exclude_defaults=True
        )
        return written

    @classmethod
    def parse(cls, record: object, where: str) -> Entry:
        """Creates an entry from a decoded line.

        Args:
            record: the fields of the line; a shard, shots or box that is null counts as absent.
            where: the line's name in errors (``manifest.jsonl line 3``).

        Raises:
            InputError: names the line, the field, the value and the limit.
        """
        if isinstance(record, dict):
            record = {n: v for n, v in record.items() if v is not None or n not in _NULLABLE}
        entry = validate(cls, record, where)
        entry._check(where)
        return entry

    def _check(self, where: str) -> None:
        for field, path in (("path", self.path), ("shard", self.shard or ".")):
            # A manifest is not trusted: it must not name files elsewhere.
            parts = PurePosixPath(path)
            if not path or parts.is_absolute() or ".." in parts.parts or "\0" in path:
                raise InputError(f"{where}: {field}", path, "a path below the manifest's folder")
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
        left, top, right, bottom = self.box
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            limit = "0 <= left < right <= 1 and 0 <= top < bottom <= 1"
            raise InputError(f"{where}: box", self.box, limit)


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
