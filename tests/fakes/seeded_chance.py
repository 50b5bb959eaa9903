"""Chance that repeats: what draws from Python's own source of numbers draws the same each time."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator


@contextlib.contextmanager
def seeded_chance(seed: int = 0) -> Iterator[None]:
    """Within it the source starts at ``seed``; after it the source goes on from where it was."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
