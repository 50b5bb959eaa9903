"""What every conversion to a manifest shares: the outcome, and where video files lie."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flashtalk.errors import InputError
from training.data.videos.manifest import Entry

# In the order of preference where a name has several.
SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".m4v", ".avi")


@dataclass
class Conversion:
    """Entries as they are found, and what was not.

    Args:
        entries: of the manifest.
        missed: records that became no entry, counted by why.
        notes: entries that lack something, counted by what.
    """

    entries: list[Entry] = field(default_factory=list)
    missed: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def take(self, make: Callable[[], Entry]) -> None:
        """Adds the entry that ``make`` returns, or counts why it raised MissedError."""
        try:
            self.entries.append(make())
        except MissedError as why:
            self.missed[str(why)] += 1


class MissedError(Exception):
    """A record that cannot become an entry; the text is what is counted."""


def below(path: Path, folder: Path) -> str:
    """A path relative to the manifest's folder, with forward slashes.

    Raises:
        InputError: it lies elsewhere, where a manifest does not reach.
    """
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError as error:
        raise InputError("videos", path, f"below the manifest's folder {folder}") from error


def video_files(folder: Path) -> Iterator[Path]:
    """All video files below a folder, in order.

    Raises:
        InputError: no such folder.
    """
    if not folder.is_dir():
        raise InputError("videos", folder, "a folder")
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    yield from sorted(found, key=lambda path: (path.with_suffix(""), _preference(path)))


def files_by_stem(folder: Path) -> dict[str, Path]:
    """Video files below a folder by their name without ending; of two the preferred kind."""
    stems: dict[str, Path] = {}
    for path in video_files(folder):
        stems.setdefault(path.stem, path)
    return stems


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        InputError: not there, or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("metadata", path, error.strerror or "not readable") from error
    except ValueError as error:
        raise InputError("metadata", path, f"JSON ({error})") from error


def seconds(record: Mapping[str, Any], name: str) -> float | None:
    """A time in seconds, given as a number or as ``H:MM:SS.sss``; None if the field says none."""
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
