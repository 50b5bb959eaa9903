"""Out-of-memory errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from flashtalk.errors import InputError


@contextmanager
def enough_memory(device: str) -> Iterator[None]:
    """Converts an out-of-memory error, of the accelerator or the host, to InputError."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # torch has its own error type for accelerators only.
        if isinstance(error, RuntimeError) and not (
            isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        ):
            raise
        limit = "out of memory; `flashtalk doctor` shows which preset fits on which device"
        raise InputError("device", device, limit) from error
