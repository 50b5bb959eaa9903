"""Reasons for skipping a video; skipped videos are counted and listed, never fatal."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Literal

from flashtalk.errors import InputError

Reason = Literal[
    "missing",  # no such file, or no such member of the shard
    "corrupt",  # not a video, cut off, or pictures that cannot be decoded
    "no pictures",
    "no sound",
    "silent",
    "outside",  # start, end or shots that the file does not have
    "too short",  # no shot has a reference outside of a clip
    "too small",
    "changed",  # not the file that was scanned
]


class BadVideoError(InputError):
    """A video that is not usable.

    Args:
        reason: one of ``Reason``.
        key: name of the video.
        detail: text of the error.
    """

    def __init__(self, reason: Reason, key: object, detail: str) -> None:
        super().__init__("video", key, f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail


class SkipList:
    """Counts skipped videos, and appends each to a file, once.

    Args:
        path: JSON lines with ``key``, ``reason`` and ``detail``; read if it exists.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._reasons: dict[str, str] = {}
        self._lock = threading.Lock()
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                record = _whole(line)
                if record is not None:
                    self._reasons[record["key"]] = record["reason"]

    def add(self, key: str, error: InputError) -> bool:
        """Adds a video; returns False if it is known already."""
        reason = error.reason if isinstance(error, BadVideoError) else error.field
        detail = error.detail if isinstance(error, BadVideoError) else str(error)
        with self._lock:
            if key in self._reasons:
                return False
            self._reasons[key] = reason
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                record = {"key": key, "reason": reason, "detail": detail}
                with self.path.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(record, ensure_ascii=False) + "\n")
        return True

    def __contains__(self, key: object) -> bool:
        return key in self._reasons

    def __len__(self) -> int:
        return len(self._reasons)

    @property
    def counts(self) -> dict[str, int]:
        """Returns the number of videos by reason, the most frequent first."""
        return dict(Counter(self._reasons.values()).most_common())


def _whole(line: str) -> dict[str, str] | None:
    """Returns the record of a line; None for an incomplete one."""
    try:
        record: dict[str, str] = json.loads(line)
    except json.JSONDecodeError:
        return None
    return record if "key" in record and "reason" in record else None
