"""The file in which a service says on which port it is ready, for whoever started it.

A reader may look at any moment, so the file is there whole or not at all.
"""

from __future__ import annotations

import os
from pathlib import Path


def write_port(path: Path, port: int) -> None:
    """Puts ``port`` and a line end into ``path``, at once.

    Raises:
        OSError: the folder is not there or cannot be written.
    """
    # Beside it, since a file can be renamed at once only within its file system.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(f"{port}\n")
    unfinished.replace(path)


def read_port(path: Path) -> int | None:
    """The port, or None while there is no whole line with one."""
    try:
        line = path.read_text()
    except FileNotFoundError:
        return None
    number = line.removesuffix("\n")
    return int(number) if line.endswith("\n") and number.isdecimal() else None
