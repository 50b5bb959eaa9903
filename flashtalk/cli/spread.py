"""Percentiles of some values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Half of the values are below ``p50``, 95 % below ``p95``; in the unit of the values."""

    p50: float
    p95: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Returns the percentiles of at least one value, linear between neighbours."""
        p50, p95 = np.percentile(np.asarray(values, np.float64), (50, 95))
        return cls(float(p50), float(p95), len(values))
