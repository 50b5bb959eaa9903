"""A video file, or a video inside a tar shard, opened for decoding."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer

from training.data.videos.problems import BadVideoError

_HASHED_AT_ONCE = 1 << 20
# A playlist could refer to other files: only files that contain their pictures are opened.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf"
_ONLY_THIS_FILE = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}


@dataclass(frozen=True)
class MediaFile:
    """Bytes of a video.

    Args:
        path: the file, or the tar archive.
        member: the name inside the archive; empty for a plain file.
        offset, size: position of the video in the file, in bytes.
    """

    path: Path
    member: str
    offset: int
    size: int

    @classmethod
    def find(cls, path: Path, member: str = "") -> MediaFile:
        """Finds the video at a path, or a member of the shard at a path.

        Raises:
            BadVideoError: it is missing or empty, or the shard is damaged.
        """
        key = f"{path}:{member}" if member else str(path)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise BadVideoError("missing", key, error.strerror or "no such file") from error
        if not path.is_file():
            raise BadVideoError("missing", key, "not a file")
        offset = 0
        if member:
            place = _members(path, size).get(member)
            if place is None:
                raise BadVideoError("missing", key, "no such member of the shard")
            offset, size = place
        if not size:
            raise BadVideoError("corrupt", key, "an empty file")
        return cls(path, member, offset, size)

    @property
    def key(self) -> str:
        """Returns its name in messages."""
        return f"{self.path.name}:{self.member}" if self.member else self.path.name

    @contextmanager
    def open(self) -> Iterator[InputContainer]:
        """Opens the container; FFmpeg's errors while it is open become a BadVideoError.

        Raises:
            BadVideoError: missing, changed in length, or not a video.
        """
        try:
            held = self.path.stat().st_size
            if self.offset + self.size > held or (not self.member and self.size != held):
                raise BadVideoError("changed", self.key, f"{held} bytes, scanned with {self.size}")
            if not self.member:
                with av.open(f"file:{self.path}", "r", options=_ONLY_THIS_FILE) as container:
                    yield container
                return
            with (
                _Part(self.path.open("rb"), self.offset, self.size) as part,
                av.open(part, "r", options=_ONLY_THIS_FILE) as container,
            ):
                yield container
        except av.FFmpegError as error:
            raise BadVideoError("corrupt", self.key, f"not readable ({error.strerror})") from error
        except OSError as error:
            raise BadVideoError("missing", self.key, error.strerror or "not readable") from error

    def digest(self) -> str:
        """Returns a digest of the bytes, 32 hexadecimal digits.

        Raises:
            BadVideoError: missing, or not readable.
        """
        try:
            return _digest(self.path, self.offset, self.size)
        except OSError as error:
            raise BadVideoError("missing", self.key, error.strerror or "not readable") from error


class _Part(io.RawIOBase):
    """A stretch of an open file as a separate file."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        super().__init__()
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        self._file.seek(self._offset + self._at)
        data = self._file.read(wanted)
        self._at += len(data)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


def shard_members(path: Path) -> dict[str, tuple[int, int]]:
    """Returns offset and size in bytes of every file in a tar shard, by name.

    Raises:
        BadVideoError: not a tar archive, or a compressed one, which does not allow random access.
    """
    try:
        return _members(path, path.stat().st_size)
    except OSError as error:
        raise BadVideoError("missing", path, error.strerror or "no such file") from error


@lru_cache(maxsize=64)
def _members(path: Path, size: int) -> dict[str, tuple[int, int]]:
    """Cached by ``size`` too, so that a shard that has grown is read again."""
    try:
        with tarfile.open(path, "r:") as archive:
            return {
                member.name: (member.offset_data, member.size)
                for member in archive
                if member.isfile()
            }
    except tarfile.TarError as error:
        limit = f"not an uncompressed tar archive ({error})"
        raise BadVideoError("corrupt", path, limit) from error


@lru_cache(maxsize=256)
def _digest(path: Path, offset: int, size: int) -> str:
    """Cached: many lines of a manifest may be shots of one long file."""
    digest, left = hashlib.sha256(), size
    with path.open("rb") as file:
        file.seek(offset)
        while left and (data := file.read(min(left, _HASHED_AT_ONCE))):
            digest.update(data)
            left -= len(data)
    return digest.hexdigest()[:32]
