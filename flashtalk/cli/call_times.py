"""Seconds of calls on any device; on a GPU by events, without synchronising between calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from flashtalk.bounds import check_between

MOST_CALLS = 10_000


@dataclass(frozen=True)
class Repeats:
    """Numbers of calls.

    Args:
        warmup: calls before the measurement; they include compilation and kernel selection.
        count: measured calls.

    Raises:
        InputError: no measured call, or far too many.
    """

    warmup: int = 2
    count: int = 10

    def __post_init__(self) -> None:
        check_between("warmup", self.warmup, 0, MOST_CALLS)
        check_between("repeats", self.count, 1, MOST_CALLS)


@dataclass(frozen=True)
class CallTimes:
    """Seconds: the sum of the warm-up, and each measured call."""

    warmup_s: float
    calls_s: tuple[float, ...]


def time_calls(run: Callable[[], object], device: torch.device, repeats: Repeats) -> CallTimes:
    """Times a function.

    Args:
        run: the function.
        device: its compute device. On CUDA every call is between two events of the stream, and
            the host waits once, after the last.
        repeats: numbers of calls.
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
