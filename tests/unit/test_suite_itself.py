"""What the suite stands on: scaled deadlines, virtual time, the table at the end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests import patience, time_table
from tests.fakes.virtual_time import VirtualTimeLoop, run_virtual


def test_a_deadline_is_never_shorter_than_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    assert patience.measured() >= 1.0
    monkeypatch.setenv(patience.VARIABLE, "2.5")
    assert patience.settle() == 2.5
    assert patience.patient(4.0) == 10.0


def test_each_test_has_its_scaled_limit(request: pytest.FixtureRequest) -> None:
    limit = request.node.get_closest_marker("timeout")
    assert limit is not None
    assert limit.args[0] == patience.patient(300)


def test_waiting_ends_with_the_event_or_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([False, False, True])
    patience.wait_until(lambda: next(seen))
    monkeypatch.setenv(patience.VARIABLE, "0")
    with pytest.raises(AssertionError, match="never comes"):
        patience.wait_until(lambda: False, what="never comes")


def test_virtual_time_is_exact_and_costs_nothing() -> None:
    async def scenario() -> list[tuple[str, float]]:
        loop, seen = asyncio.get_running_loop(), list[tuple[str, float]]()
        begun_s = loop.time()

        async def later(name: str, delay_s: float) -> None:
            await asyncio.sleep(delay_s)
            seen.append((name, loop.time() - begun_s))

        await asyncio.gather(later("a day", 86_400), later("an hour", 3_600), later("now", 0))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.Event().wait()
        seen.append(("the end", loop.time() - begun_s))
        return seen

    assert run_virtual(scenario) == [
        ("now", 0),
        ("an hour", 3_600),
        ("a day", 86_400),
        ("the end", 86_410),
    ]


def test_virtual_time_stands_still_while_a_thread_is_held() -> None:
    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        done, begun_s = asyncio.Event(), loop.time()
        timer = threading.Timer(0.01, lambda: loop.call_soon_threadsafe(done.set))
        with loop.hold():
            timer.start()
            async with asyncio.timeout(1):  # of virtual time, of which none goes by
                await done.wait()
        timer.join()
        return loop.time() - begun_s

    assert run_virtual(scenario) == 0.0


def test_the_table_adds_up_folders() -> None:
    def report(nodeid: str, duration: float) -> pytest.TestReport:
        return pytest.TestReport(nodeid, ("", 0, ""), {}, "passed", None, "call", duration=duration)

    rows = time_table.rows(
        [
            report("tests/unit/ops/test_a.py::test_x", 1.0),
            report("tests/unit/ops/test_a.py::test_x", 0.5),
            report("tests/unit/ops/deep/test_b.py::test_y[1/2]", 1.0),
            report("tests/unit/test_house.py::test_z", 4.0),
        ]
    )
    assert rows == [("tests/unit/test_house.py", 4.0, 1), ("tests/unit/ops", 2.5, 2)]
