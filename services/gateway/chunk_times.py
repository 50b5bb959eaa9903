"""Where the time of one chunk went."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from services.gateway.loop_clock import loop_time


@dataclass
class ChunkTimes:
    """Where the time of one chunk went, and how often it was tried again.

    Args:
        due_s: when its first frame is to be shown, on the loop's clock; inf if at any time.
        stages_s: wall time of each stage, calls included; compute_s: what workers computed.
        retries: attempts that failed.
        now_s: the loop's clock.
    """

    due_s: float = math.inf
    stages_s: dict[str, float] = field(default_factory=dict)
    compute_s: float = 0.0
    retries: int = 0
    now_s: Callable[[], float] = field(default_factory=loop_time)

    def add(self, stage: str, seconds: float) -> None:
        """Count time under a stage's name."""
        self.stages_s[stage] = self.stages_s.get(stage, 0.0) + seconds
