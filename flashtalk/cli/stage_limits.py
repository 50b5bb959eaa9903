"""The minimum time of a stage on this machine: its work over the machine's measured peaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flashtalk.cli.call_times import CallTimes
from flashtalk.cli.peaks import FP8, Peaks
from flashtalk.cli.spread import Spread
from flashtalk.engine.work import Work

_HALF = "bfloat16"


@dataclass(frozen=True)
class Limit:
    """The minimum time of a stage.

    Args:
        compute_ms: all operations, each kind at its peak.
        memory_ms: all bytes, at the speed of a copy.
    """

    compute_ms: float
    memory_ms: float

    @classmethod
    def of(cls, work: Work, peaks: Peaks, precision: str, devices: int = 1) -> Limit:
        """Returns the limit of some work.

        Args:
            work: counted in the dtype of its activations.
            peaks: of one device.
            precision: float32, bfloat16, or float8: matrix products and the bytes of their weights
                in FP8, everything else in bfloat16. A device without FP8 is taken at bfloat16.
            devices: number that share the work equally; communication is not counted.
        """
        other = _HALF if precision == FP8 else precision
        matrix = peaks.matrix_flops_s.get(precision, peaks.matrix_flops_s[other])
        compute_s = (
            work.matrix_flops / matrix
            + work.attention_flops / peaks.matrix_flops_s[other]
            + work.convolution_flops / peaks.convolution_flops_s[other]
        )
        moved = work.moved_bytes - (work.matrix_weight_bytes // 2 if precision == FP8 else 0)
        return cls(1e3 * compute_s / devices, 1e3 * moved / peaks.copy_bytes_s / devices)

    @property
    def ms(self) -> float:
        """Returns the longer of the two: at best, they overlap completely."""
        return max(self.compute_ms, self.memory_ms)

    @property
    def bound_by(self) -> str:
        """Returns which of the two it is."""
        return "compute" if self.compute_ms >= self.memory_ms else "memory"


def stage_row(times: CallTimes, work: Work, limit: Limit) -> dict[str, Any]:
    """Returns a stage as plain values: its times, its work and its share of the limit."""
    spread = Spread.of(times.calls_s)
    return {
        "p50_ms": 1e3 * spread.p50,
        "p95_ms": 1e3 * spread.p95,
        "count": spread.count,
        "warmup_s": times.warmup_s,
        **work_row(1e3 * spread.p50, work, limit),
    }


def work_row(p50_ms: float, work: Work, limit: Limit) -> dict[str, Any]:
    """Returns the part of ``stage_row`` that does not depend on the measured time."""
    return {
        "flops": work.flops,
        "moved_bytes": work.moved_bytes,
        "tflops_s": work.flops / p50_ms / 1e9,
        "peak_share": limit.compute_ms / p50_ms,
        "limit_ms": limit.ms,
        "compute_limit_ms": limit.compute_ms,
        "memory_limit_ms": limit.memory_ms,
        "bound_by": limit.bound_by,
        "limit_share": limit.ms / p50_ms,
    }
