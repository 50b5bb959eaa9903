"""Cache of file digests, so that unchanged files are not read again at the next start.

One small file per digest, named by the file system's metadata of the files: paths, sizes, times and
inodes. So a changed file is another entry, processes that write the same entry write the same
bytes, and an entry that cannot be read or written is a miss.
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
"""Files are cached only if they were not modified for this time: a change within the clock tick in
which they were read would not be visible. A minute is longer than the tick of any clock and the
expected difference of two machines' clocks."""
_DIGEST = re.compile(r"[0-9a-f]{64}\n")


@dataclass(frozen=True)
class FileStamp:
    """The file system's metadata of a file.

    Args:
        name: its name in the digest.
        path: with all links resolved.
        size_bytes: its length.
        modified_ns: modification time of its content; a copy may have that of its original.
        changed_ns: time of any change of it, which programs cannot set.
        device, inode: identity of the file.
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
        """Reads the metadata. Raises OSError for a missing file."""
        found, place = path.stat(), str(path.resolve())
        return cls(
            name,
            place,
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
            found.st_dev,
            found.st_ino,
        )


@dataclass(frozen=True)
class DigestCache:
    """Digests shared by a user's processes.

    Args:
        folder: of the entries; created by the first write.
    """

    folder: Path

    def find(self, stamps: Iterable[FileStamp]) -> str | None:
        """Returns the cached digest of exactly these files, or None."""
        try:
            text = (self.folder / _entry(stamps)).read_text(encoding="ascii")
        except (OSError, ValueError):
            return None
        return text.strip() if _DIGEST.fullmatch(text) else None

    def keep(self, stamps: Iterable[FileStamp], digest: str) -> None:
        """Caches a digest if the files were not changed recently; removes the oldest entries.

        Args:
            stamps: of the files before they were read, and still valid.
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
        except OSError:  # a read-only or full disk: the files are read again next time
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)

    def _prune(self) -> None:
        entries = sorted(os.scandir(self.folder), key=lambda entry: entry.stat().st_mtime_ns)
        for entry in entries[:-_ENTRIES]:
            Path(entry.path).unlink(missing_ok=True)


def _entry(stamps: Iterable[FileStamp]) -> str:
    """Returns the name of an entry."""
    listed = sorted((vars(stamp) for stamp in stamps), key=lambda stamp: str(stamp["name"]))
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()
