"""Suppresses Pillow's warnings: they are about metadata, and users cannot act on them.

Python's warning filters are global, and concurrent changes by several threads are not safe. So the
first concurrent reader changes them, and the last one restores them.
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
    """Suppresses warnings in all threads while the context is active."""
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
