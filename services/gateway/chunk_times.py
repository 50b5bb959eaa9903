"""The times of one chunk, by stage."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from services.gateway.loop_clock import loop_time


@dataclass
class ChunkTimes:
    """Time per stage of one chunk, and its number of retries.

    Args:
        due_s: when its first frame is due, on the loop's clock; inf without a deadline.
        stages_s: wall time per stage, including calls; compute_s: the workers' compute time.
        retries: number of failed attempts.
        now_s: the loop's clock.
    """

    due_s: float = math.inf
    stages_s: dict[str, float] = field(default_factory=dict)
    compute_s: float = 0.0
    retries: int = 0
    now_s: Callable[[], float] = field(default_factory=loop_time)

    def add(self, stage: str, seconds: float) -> None:
        """Adds the elapsed time to a stage."""
        self.stages_s[stage] = self.stages_s.get(stage, 0.0) + seconds
