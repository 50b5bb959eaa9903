"""Is there a file to read? One answer for sound and pictures."""

from __future__ import annotations

import os
from pathlib import Path

from flashtalk.errors import InputError


def existing_file(path: Path | str, field: str) -> Path:
    """A path that can be opened for reading.

    Args:
        path: what the caller was given.
        field: its name in messages (``image``, ``audio``).

    Raises:
        InputError: nothing there, not a file, empty, or not readable.
    """
    source = Path(path)
    try:
        if not source.exists():
            raise InputError(field, source, "no such file")
        if not source.is_file():
            raise InputError(field, source, "not a file")
        if source.stat().st_size == 0:
            raise InputError(field, source, "an empty file")
        readable = os.access(source, os.R_OK)
    except (OSError, ValueError) as error:
        # Names too long, folders that may not be entered, zero bytes in names.
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(field, source, f"not readable ({reason})") from error
    if not readable:
        raise InputError(field, source, "not readable (permission denied)")
    return source
