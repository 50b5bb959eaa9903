"""A cache of the readings of truth and of truth through the VAE, which all students share.

The name of an entry is the digest of all its dependencies, so a stale entry is never found and a
damaged one is made again.  Several processes may share a folder: one makes an entry, and the others
wait for it until a timeout.

Legend: H W pixels.
"""

from __future__ import annotations

import fcntl
import io
import os
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flashtalk.arrays import Rgb
from training.evaluate.digests import digest_of
from training.evaluate.reading import Reading
from training.evaluate.reading_files import pack_reading, unpack_reading

MOST_BYTES = 256 * 2**20
WAIT_S = 300.0
_POLL_S = 0.05
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Kept:
    """A reading and some frames of its video for the pictures, by frame number."""

    reading: Reading
    shown: Mapping[int, Rgb]


@dataclass(frozen=True)
class KeptReadings:
    """A folder of entries.

    Args:
        folder: created if missing.
        facts: dependencies of all entries, such as digests of the probes and of the code.
        most_bytes: limit of all entries together; least recently used ones are removed first.
        wait_s: timeout for another process that makes the same entry; then this process makes it
            too.
    """

    folder: Path
    facts: Mapping[str, object] = field(default_factory=dict)
    most_bytes: int = MOST_BYTES
    wait_s: float = WAIT_S

    def get(self, facts: Mapping[str, object], make: Callable[[], Kept]) -> Kept:
        """Returns the entry of these facts, read or made; made each time if unwritable."""
        key = digest_of({**self.facts, **facts})
        path = self.folder / f"{key}.npz"
        found = _read(path)
        if found is not None:
            return found
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return make()
        # A few locks are shared by all entries, so that their number is bounded.
        with _held(self.folder / f"{key[:2]}.lock", self.wait_s):
            found = _read(path)
            if found is not None:
                return found
            made = make()
            self._write(path, made)
        return made

    def _write(self, path: Path, made: Kept) -> None:
        """Writes atomically: readers never get an incomplete file."""
        half = path.with_name(f"{path.stem}.{os.getpid()}.part")
        try:
            half.write_bytes(_packed(made))
            half.replace(path)
            self._forget(but=path)
        except OSError:
            # A full disk costs time, but does not stop the evaluation.
            half.unlink(missing_ok=True)

    def _forget(self, *, but: Path) -> None:
        entries = []
        for path in self.folder.glob("*.npz"):
            try:
                status = path.stat()
            except OSError:  # another process was faster
                continue
            entries.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.most_bytes:
                break
            if path != but:
                path.unlink(missing_ok=True)
                total -= size


def _packed(made: Kept) -> bytes:
    arrays = pack_reading(made.reading)
    numbers = np.array(sorted(made.shown), np.int64)
    arrays["shown_frames"] = numbers
    if len(numbers):
        arrays["shown_THWC"] = np.stack([made.shown[int(number)] for number in numbers])
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _read(path: Path) -> Kept | None:
    """Returns None for an entry that is missing or damaged."""
    try:
        # Read completely first: the archive's checksums cover every part.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        numbers = arrays["shown_frames"]
        shown = {int(n): arrays["shown_THWC"][k] for k, n in enumerate(numbers)}
        kept = Kept(unpack_reading(arrays), shown)
        os.utime(path)
    except _DAMAGED:
        return None
    return kept


@contextmanager
def _held(path: Path, wait_s: float) -> Iterator[bool]:
    """Holds the lock, or nothing after ``wait_s``; a process that dies releases it."""
    deadline_s = time.monotonic() + wait_s
    try:
        file = path.open("a")
    except OSError:
        yield False
        return
    with file:
        held = _taken(file.fileno())
        while not held and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
            held = _taken(file.fileno())
        yield held


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
