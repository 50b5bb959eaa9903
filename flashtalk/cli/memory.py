"""Lack of memory, told in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from flashtalk.errors import InputError


@contextmanager
def enough_memory(device: str) -> Iterator[None]:
    """Turns a lack of memory, the accelerator's or the host's, into InputError."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # torch has a type of its own for accelerators only.
        if isinstance(error, RuntimeError) and not (
            isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        ):
            raise
        limit = "out of memory; `flashtalk doctor` says what fits where"
        raise InputError("device", device, limit) from error
