"""Seconds of a call on any device; on a GPU by its own clock, without a stop between two calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from flashtalk.bounds import check_between

MOST_CALLS = 10_000


@dataclass(frozen=True)
class Repeats:
    """How often something is called.

    Args:
        warmup: calls that are not counted; what is compiled or chosen once is in them.
        count: calls that are.

    Raises:
        InputError: none that count, or far too many.
    """

    warmup: int = 2
    count: int = 10

    def __post_init__(self) -> None:
        check_between("warmup", self.warmup, 0, MOST_CALLS)
        check_between("repeats", self.count, 1, MOST_CALLS)


@dataclass(frozen=True)
class CallTimes:
    """Seconds: all calls of the warm-up together, and each of the others."""

    warmup_s: float
    calls_s: tuple[float, ...]


def time_calls(run: Callable[[], object], device: torch.device, repeats: Repeats) -> CallTimes:
    """Call something and time it.

    Args:
        run: what is timed.
        device: where it computes. On CUDA every call lies between two events of the stream, and
            the host waits once, after the last.
        repeats: how often.
    """
    began_s = time.perf_counter()
    for _ in range(repeats.warmup):
        run()
    if device.type != "cuda":
        warmup_s = time.perf_counter() - began_s
        return CallTimes(warmup_s, tuple(_host_s(run) for _ in range(repeats.count)))
    torch.cuda.synchronize(device)
    warmup_s = time.perf_counter() - began_s
    with torch.cuda.device(device):
        marks = [
            [torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats.count)
        ]
        for before, after in marks:
            before.record()
            run()
            after.record()
        torch.cuda.synchronize(device)
    return CallTimes(warmup_s, tuple(before.elapsed_time(after) / 1e3 for before, after in marks))


def _host_s(run: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    run()
    return time.perf_counter() - began_s
