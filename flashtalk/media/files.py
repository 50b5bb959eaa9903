"""Checks that an input file can be read; shared by audio and pictures."""

from __future__ import annotations

import os
from pathlib import Path

from flashtalk.errors import InputError


def existing_file(path: Path | str, field: str) -> Path:
    """Returns a path that can be opened for reading.

    Args:
        path: the path to check.
        field: its name in errors (``image``, ``audio``).

    Raises:
        InputError: missing, not a file, empty, or not readable.
    """
    source = Path(path)
    try:
        if not source.exists():
            raise InputError(field, source, "no such file")
        if not source.is_file():
            raise InputError(field, source, "not a file")
        if source.stat().st_size == 0:
            raise InputError(field, source, "the file is empty")
        readable = os.access(source, os.R_OK)
    except (OSError, ValueError) as error:
        # Too long names, folders without permission, zero bytes in names.
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(field, source, f"not readable ({reason})") from error
    if not readable:
        raise InputError(field, source, "not readable (permission denied)")
    return source
