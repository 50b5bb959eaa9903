"""Times of stages, of a device that works behind the host."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from flashtalk.engine import StageClock
from flashtalk.engine.stage_clock import Moment


@dataclass
class Device:
    """Works for as long as it is told and notes who waits for it."""

    at_ms: float = 0.0
    waited_for: list[float] = field(default_factory=list)

    def now(self) -> Moment:
        return Event(self, self.at_ms)


@dataclass(frozen=True)
class Event:
    device: Device
    at_ms: float

    def synchronize(self) -> None:
        self.device.waited_for.append(self.at_ms)

    def elapsed_time(self, end: Moment, /) -> float:
        assert isinstance(end, Event)
        return end.at_ms - self.at_ms


def test_nobody_waits_before_the_times_are_read() -> None:
    device = Device()
    clock = StageClock(torch.device("cpu"), device.now)
    for name, ms in (("decode", 40.0), ("color", 2.0), ("decode", 60.0)):
        with clock.stage(name):
            device.at_ms += ms
        device.at_ms += 5.0  # between two stages
    times = clock.timings_s
    assert set(times) == {"decode", "color"}
    assert device.waited_for == []
    assert dict(times) == pytest.approx({"decode": 0.1, "color": 0.002})
    assert set(device.waited_for) == {112.0}  # the end of the last stage


def test_times_are_those_of_the_moment_they_were_asked_for() -> None:
    device = Device()
    clock = StageClock(torch.device("cpu"), device.now)
    before = clock.timings_s
    with clock.stage("motion"):
        device.at_ms += 1.0
    assert (len(before), len(clock.timings_s)) == (0, 1)
    assert dict(before) == {}


def test_a_stage_that_fails_is_not_counted() -> None:
    clock = StageClock(torch.device("cpu"))
    with pytest.raises(KeyError), clock.stage("decode"):
        raise KeyError
    assert not clock.timings_s
