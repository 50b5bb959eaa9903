"""Seconds per stage of a chunk, without waiting for any of them.

A GPU works behind the host: it is asked afterwards, by events that it has passed, when each stage
began and ended. Only who reads the times waits for the last of them.
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
        """Waits until the device has come there."""

    def elapsed_time(self, end: Moment, /) -> float:
        """Milliseconds from here to ``end``; both must be past."""


@dataclass(frozen=True)
class HostMoment:
    """A point in the work of a processor, which is past once it is made."""

    at_s: float = field(default_factory=lambda: time.perf_counter())

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def elapsed_time(self, end: Moment, /) -> float:
        """Milliseconds from here to ``end``, which is of the same kind."""
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
        """Waits until the GPU has come here."""
        self._event.synchronize()

    def elapsed_time(self, end: Moment, /) -> float:
        """Milliseconds from here to ``end``, which is of the same kind."""
        assert isinstance(end, GpuMoment)
        return float(self._event.elapsed_time(end._event))


class StageTimes(Mapping[str, float]):
    """Seconds per named stage; the first look waits until all of them have ended.

    Args:
        spans: name, begin and end of every stage, in the order of the work; stages of one name
            are added up.
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
        device: whose work is measured.
        now: where the device is; by default its own events on a GPU, else the host's clock.
    """

    def __init__(self, device: torch.device, now: Callable[[], Moment] | None = None) -> None:
        own = partial(GpuMoment, device) if device.type == "cuda" else HostMoment
        self._now: Callable[[], Moment] = now or own
        self._spans: list[tuple[str, Moment, Moment]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the block under this name; a block that raises is not counted."""
        begin = self._now()
        yield
        self._spans.append((name, begin, self._now()))

    @property
    def timings_s(self) -> StageTimes:
        """Of the stages so far."""
        return StageTimes(tuple(self._spans))
