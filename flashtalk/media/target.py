"""The target file of a video: written to a hidden file beside it, which replaces it at the end.

A symbolic link is kept (its target is replaced), and a replaced file keeps its mode and its owner.
If the folder is not writable but the old file is, the video is written to the folder for temporary
files and copied into the old file at the end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
from pathlib import Path

from flashtalk.errors import InputError

SUFFIXES = (".mp4", ".m4v")
_NO_NEW_FILE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class Target:
    """A checked target of a video.

    Args:
        path: path of the video, ending in .mp4 or .m4v.

    Attributes:
        partial: path of the unfinished video; exists, empty.

    Raises:
        InputError: another ending, a missing folder, not a file, or not writable.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise InputError("out", path, f"must end in {SUFFIXES[0]}")
        self.path = path
        try:
            self._place = Path(os.path.realpath(path))
            there = self._place.exists()
            if there and not self._place.is_file():
                raise InputError("out", path, "exists and is not a file")
            if self._place.is_symlink():
                raise InputError("out", path, "a symbolic link to itself")
            if not self._place.parent.is_dir():
                raise InputError("out", path, f"no such folder: {self._place.parent}")
            if there and not os.access(self._place, os.W_OK):
                raise InputError("out", path, "not writable (permission denied)")
            self.partial = self._reserve(there)
        except (OSError, ValueError) as error:
            # Folders that are read-only or without permission, too long names or zero bytes.
            raise self._not_writable(error) from error

    def finish(self) -> None:
        """Moves the finished video to its path.

        Raises:
            InputError: the file cannot be replaced.
        """
        try:
            if self._copied:
                self._copy()
                return
            with contextlib.suppress(FileNotFoundError):
                before = self._place.stat()
                with contextlib.suppress(OSError):  # only root may change the owner
                    os.chown(self.partial, before.st_uid, before.st_gid)
                self.partial.chmod(stat.S_IMODE(before.st_mode))
            os.replace(self.partial, self._place)
        except OSError as error:
            raise self._not_writable(error) from error

    def discard(self) -> None:
        """Removes the unfinished file; no effect after ``finish``."""
        with contextlib.suppress(OSError):
            self.partial.unlink(missing_ok=True)

    def _reserve(self, there: bool) -> Path:
        """Creates the hidden file, which checks that the folder is writable."""
        ending = f".{secrets.token_hex(4)}.partial{self.path.suffix}"
        partial = self._place.with_name(f".{self.path.stem[:50]}{ending}")
        self._copied = False
        try:
            partial.touch(exist_ok=False)
        except OSError as error:
            if not there or error.errno not in _NO_NEW_FILE:
                raise
            self._copied = True
            number, name = tempfile.mkstemp(prefix=".flashtalk.", suffix=ending)
            os.close(number)
            return Path(name)
        return partial

    def _copy(self) -> None:
        with self.partial.open("rb") as made, self._place.open("r+b") as old:
            shutil.copyfileobj(made, old)
            old.truncate()
        self.partial.unlink()

    def _not_writable(self, error: OSError | ValueError) -> InputError:
        reason = getattr(error, "strerror", None) or str(error)
        return InputError("out", self.path, f"not writable ({reason})")
