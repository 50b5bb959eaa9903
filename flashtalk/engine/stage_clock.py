"""Seconds per stage of a chunk, measured without waiting for the stages.

A GPU runs asynchronously to the host, so begin and end of each stage are recorded as events. Only
reading the times waits for the last event.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import torch


class Moment(Protocol):
    """A point in the work of a device."""

    def synchronize(self) -> None:
        """Waits until the device has reached it."""

    def elapsed_time(self, end: Moment, /) -> float:
        """Returns the milliseconds from here to ``end``; both must be reached."""


@dataclass(frozen=True)
class HostMoment:
    """A point in the work of a CPU, reached when it is created."""

    at_s: float = field(default_factory=lambda: time.perf_counter())

    def synchronize(self) -> None:
        """Returns at once."""

    def elapsed_time(self, end: Moment, /) -> float:
        """Returns the milliseconds from here to ``end``, of the same type."""
        assert isinstance(end, HostMoment)
        return 1000 * (end.at_s - self.at_s)


class GpuMoment:
    """A point in the work of the current stream of a GPU.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._event = torch.cuda.Event(enable_timing=True)
        self._event.record(torch.cuda.current_stream(device))

    def synchronize(self) -> None:
        """Waits until the GPU has reached it."""
        self._event.synchronize()

    def elapsed_time(self, end: Moment, /) -> float:
        """Returns the milliseconds from here to ``end``, of the same type."""
        assert isinstance(end, GpuMoment)
        return float(self._event.elapsed_time(end._event))


class StageTimes(Mapping[str, float]):
    """Seconds per named stage; the first access waits until all of them have ended.

    Args:
        spans: name, begin and end of every stage, in execution order; stages of the same name
            are summed.
    """

    def __init__(self, spans: tuple[tuple[str, Moment, Moment], ...]) -> None:
        self._spans = spans

    def __getitem__(self, name: str) -> float:
        return self._seconds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _, _ in self._spans))

    def __len__(self) -> int:
        return len({name for name, _, _ in self._spans})

    @property
    def _seconds(self) -> dict[str, float]:
        found: dict[str, float] = {}
        if self._spans:
            self._spans[-1][2].synchronize()
        for name, begin, end in self._spans:
            found[name] = found.get(name, 0.0) + begin.elapsed_time(end) / 1000
        return found


class StageClock:
    """Measures named stages of one chunk.

    Args:
        device: the measured device.
        now: creates the current point; default: events on a GPU, else the host's clock.
    """

    def __init__(self, device: torch.device, now: Callable[[], Moment] | None = None) -> None:
        own = partial(GpuMoment, device) if device.type == "cuda" else HostMoment
        self._now: Callable[[], Moment] = now or own
        self._spans: list[tuple[str, Moment, Moment]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures the block under this name, unless it raises."""
        begin = self._now()
        yield
        self._spans.append((name, begin, self._now()))

    @property
    def timings_s(self) -> StageTimes:
        """Returns the times of the stages so far."""
        return StageTimes(tuple(self._spans))
