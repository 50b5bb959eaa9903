"""Seconds per stage of a chunk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch


@dataclass
class StageClock:
    """Seconds per named stage; on a GPU each stage is waited for."""

    device: torch.device
    timings_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the block under this name."""
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.timings_s[name] = self.timings_s.get(name, 0.0) + time.perf_counter() - start
