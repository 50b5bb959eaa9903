"""The file to which a service writes its port when it is ready, for its parent process.

The write is atomic: a reader finds the whole file or none.
"""

from __future__ import annotations

import os
from pathlib import Path


def write_port(path: Path, port: int) -> None:
    """Writes ``port`` and a newline to ``path``, atomically.

    Raises:
        OSError: the folder is missing or not writable.
    """
    # In the same folder, since a rename is atomic only within a file system.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(f"{port}\n")
    unfinished.replace(path)


def read_port(path: Path) -> int | None:
    """Returns the port, or None while there is no complete line."""
    try:
        line = path.read_text()
    except FileNotFoundError:
        return None
    number = line.removesuffix("\n")
    return int(number) if line.endswith("\n") and number.isdecimal() else None
