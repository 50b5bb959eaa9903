"""The valid keys: a file that is read again when it changes."""

from __future__ import annotations

import hmac
from pathlib import Path

from flashtalk.errors import InputError
from flashtalk.serving.logs import get_logger
from services.gateway.keys.entries import ApiKey, KeyFileError, digest_of, read_keys

_LOG = get_logger(__name__)
_LARGEST_BYTES = 4 << 20
_Stamp = tuple[int, ...]


class KeyRing:
    """Finds the entry of a received key.

    Args:
        path: the key file.

    Raises:
        InputError: an invalid file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)
        try:
            self._keys = _read(path)
        except KeyFileError as error:
            raise InputError("api_keys", path, str(error)) from None

    def find(self, key: str) -> ApiKey | None:
        """Returns the entry of a key, or None; takes the same time for known and unknown keys."""
        digest, found = digest_of(key), None
        for known in self._keys:
            if hmac.compare_digest(known.digest, digest):
                found = known
        return found

    def holds(self, key: ApiKey) -> bool:
        """Whether an entry that was found before is still valid, even if its limits changed."""
        good = False
        for known in self._keys:
            good |= known.name == key.name and hmac.compare_digest(known.digest, key.digest)
        return good

    def refresh(self) -> None:
        """Reads the file if it has changed; logs an invalid file once."""
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        try:
            keys = _read(self._path)
        except KeyFileError as error:
            self._stamp = stamp
            _LOG.error(
                "API keys not reloaded; the previous ones stay in use",
                extra={"file": str(self._path), "error": str(error)},
            )
            return
        if stamp != _stamp(self._path):
            return  # being written: the next call reads the complete file
        self._stamp, self._keys = stamp, keys
        _LOG.info("API keys reloaded", extra={"file": str(self._path), "keys": len(keys)})


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return ()
    return (found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns)


def _read(path: Path) -> tuple[ApiKey, ...]:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
        if len(data) > _LARGEST_BYTES:
            raise KeyFileError(f"file is larger than {_LARGEST_BYTES} bytes")
        text = data.decode()
    except UnicodeDecodeError:
        raise KeyFileError("not valid UTF-8") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise KeyFileError(f"cannot be read: {reason}") from None
    return read_keys(text)
