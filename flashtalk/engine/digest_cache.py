"""Digests of files that have been read once, so that the next start need not read them again.

One small file per digest, named by what the file system says of the files: their places, sizes,
times and inodes. So a file that changes in any way is another entry, processes that write the same
entry write the same bytes, and what cannot be read or written is as if it were not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_ENTRIES = 64
_SETTLED_S = 60.0
"""Files are trusted by their times only when nothing has touched them for so long: a change in the
very tick of the clock in which they were read would not show. A minute is more than any clock's
tick and than what clocks of two machines should differ by."""
_DIGEST = re.compile(r"[0-9a-f]{64}\n")


@dataclass(frozen=True)
class FileStamp:
    """What the file system says of a file.

    Args:
        name: in the digest.
        path: with all links resolved.
        size_bytes: its length.
        modified_ns: of its content; a copy may have that of its original.
        changed_ns: of anything about it, which no program can set.
        device, inode: which file it is.
    """

    name: str
    path: str
    size_bytes: int
    modified_ns: int
    changed_ns: int
    device: int
    inode: int

    @classmethod
    def of(cls, name: str, path: Path) -> FileStamp:
        """Raises OSError for a file that is not there."""
        found, place = path.stat(), str(path.resolve())
        return cls(
            name, place, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_dev,
            found.st_ino,
        )  # fmt: skip


@dataclass(frozen=True)
class DigestCache:
    """Digests that processes of a user share.

    Args:
        folder: of the entries; made when the first one is written.
    """

    folder: Path

    def find(self, stamps: Iterable[FileStamp]) -> str | None:
        """The digest that was kept for exactly these files."""
        try:
            text = (self.folder / _entry(stamps)).read_text(encoding="ascii")
        except (OSError, ValueError):
            return None
        return text.strip() if _DIGEST.fullmatch(text) else None

    def keep(self, stamps: Iterable[FileStamp], digest: str) -> None:
        """Keeps a digest if these files have long been as they are; the oldest entries go.

        Args:
            stamps: of the files as they were before they were read and still are.
            digest: 64 hexadecimal digits.
        """
        stamps = list(stamps)
        newest_ns = max((max(s.modified_ns, s.changed_ns) for s in stamps), default=0)
        if time.time_ns() - newest_ns < _SETTLED_S * 1e9:
            return
        entry = self.folder / _entry(stamps)
        draft = entry.with_suffix(f".{secrets.token_hex(8)}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft.write_text(f"{digest}\n", encoding="ascii")
            draft.replace(entry)
            self._prune()
        except OSError:  # a home that is read-only or full: then it is read again next time
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)

    def _prune(self) -> None:
        entries = sorted(os.scandir(self.folder), key=lambda entry: entry.stat().st_mtime_ns)
        for entry in entries[:-_ENTRIES]:
            Path(entry.path).unlink(missing_ok=True)


def _entry(stamps: Iterable[FileStamp]) -> str:
    """The name of an entry."""
    listed = sorted((vars(stamp) for stamp in stamps), key=lambda stamp: str(stamp["name"]))
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()
