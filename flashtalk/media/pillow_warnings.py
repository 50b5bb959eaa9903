"""Keeps Pillow's warnings from the terminal: they are about metadata, and nobody can act on them.

Python's warning filters belong to the process, and changing them is not safe where several threads
do it. So the first reader that comes in changes them, and the last one that goes out restores them.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside: list[warnings.catch_warnings[None]] = []
_readers = 0


@contextmanager
def no_warnings() -> Iterator[None]:
    """No warning is shown or raised meanwhile, in any thread."""
    global _readers
    with _lock:
        _readers += 1
        if _readers == 1:
            _inside.append(warnings.catch_warnings())
            _inside[0].__enter__()
            warnings.simplefilter("ignore")
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if not _readers:
                _inside.pop().__exit__(None, None, None)
