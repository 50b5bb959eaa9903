"""Shared parts of the conversions to a manifest: the result, and finding video files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flashtalk.errors import InputError
from training.data.videos.manifest import Entry

# In order of preference if a name has several.
SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".m4v", ".avi")


@dataclass
class Conversion:
    """Converted entries, and counts of the others.

    Args:
        entries: of the manifest.
        missed: records without an entry, counted by reason.
        notes: incomplete entries, counted by what is missing.
    """

    entries: list[Entry] = field(default_factory=list)
    missed: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def take(self, make: Callable[[], Entry]) -> None:
        """Adds the entry that ``make`` returns, or counts the reason of its MissedError."""
        try:
            self.entries.append(make())
        except MissedError as why:
            self.missed[str(why)] += 1


class MissedError(Exception):
    """A record that cannot become an entry; records are counted by this text."""


def below(path: Path, folder: Path) -> str:
    """Returns a path relative to the manifest's folder, with forward slashes.

    Raises:
        InputError: it is outside of that folder, which a manifest cannot refer to.
    """
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError as error:
        raise InputError("videos", path, f"must be below the manifest's folder {folder}") from error


def video_files(folder: Path) -> Iterator[Path]:
    """Returns all video files below a folder, in order.

    Raises:
        InputError: no such folder.
    """
    if not folder.is_dir():
        raise InputError("videos", folder, "must be a folder")
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    yield from sorted(found, key=lambda path: (path.with_suffix(""), _preference(path)))


def files_by_stem(folder: Path) -> dict[str, Path]:
    """Returns video files below a folder by name without suffix; the preferred format of two."""
    stems: dict[str, Path] = {}
    for path in video_files(folder):
        stems.setdefault(path.stem, path)
    return stems


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        InputError: missing, or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("metadata", path, error.strerror or "not readable") from error
    except ValueError as error:
        raise InputError("metadata", path, f"must be valid JSON ({error})") from error


def seconds(record: Mapping[str, Any], name: str) -> float | None:
    """Returns a time in seconds from a number or ``H:MM:SS.sss``; None for an empty field."""
    value = record.get(name)
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value)
    try:
        total = 0.0
        for part in str(value).strip().removesuffix("s").split(":"):
            total = 60.0 * total + float(part)
        return total
    except ValueError:
        return None


def _preference(path: Path) -> int:
    return SUFFIXES.index(path.suffix.lower())
