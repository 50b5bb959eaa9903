"""The lane: order, bounds, deadlines, callers that go away, and an end that leaves nothing."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager

import grpc
import pytest

from flashtalk.serving.errors import Reason, ServiceError
from flashtalk.serving.lane import Cancellation, ComputeLane, Last, Stopped
from tests.fakes.virtual_time import VirtualTimeLoop, run_virtual
from tests.patience import patient

HANG_S = 60.0


@asynccontextmanager
async def opened(limit: int = 8) -> AsyncIterator[ComputeLane]:
    lane = ComputeLane(limit)
    await lane.start()
    try:
        yield lane
    finally:
        await lane.stop()
        assert not [t for t in threading.enumerate() if t.name.startswith("compute")]


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(patient(HANG_S)):
            await scenario()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(bounded())


def in_virtual_time(scenario: Callable[[VirtualTimeLoop], Awaitable[None]]) -> None:
    """The same, by a clock that stands still but for ``jump``."""

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        with loop.hold():
            await scenario(loop)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(whole)


class Gate:
    """Work that holds the thread until it is let go."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Event()

    def __call__(self, cancellation: Cancellation) -> bool:
        self.begun.set()
        assert self.open.wait(patient(HANG_S))
        return not cancellation.cancelled

    async def holds(self) -> None:
        """Until the thread is here."""
        assert await asyncio.to_thread(self.begun.wait, patient(HANG_S))


def test_one_thread_soonest_deadline_first_and_the_callers_context() -> None:
    name = contextvars.ContextVar("name", default="nobody")

    async def scenario(loop: VirtualTimeLoop) -> None:
        async with opened() as lane:
            gate, order = Gate(), list[tuple[str, str]]()
            first = asyncio.create_task(lane.run(gate))
            await gate.holds()

            async def call(who: str, deadline_s: float | None) -> None:
                name.set(who)
                work = lambda _: order.append((name.get(), threading.current_thread().name))  # noqa: E731
                await lane.run(work, deadline_s)

            now_s = loop.time()
            deadlines = {"late": now_s + 60, "never": None, "soon": now_s + 30, "later": now_s + 61}
            calls = [asyncio.create_task(call(*item)) for item in deadlines.items()]
            await asyncio.sleep(0)  # each of them begins
            assert lane.pending == 5
            gate.open.set()
            await asyncio.gather(first, *calls)
            assert [who for who, _ in order] == ["soon", "late", "later", "never"]
            assert len({thread for _, thread in order}) == 1
            assert lane.pending == 0

    in_virtual_time(scenario)


def test_a_full_lane_refuses_and_says_when_to_come_again() -> None:
    async def scenario() -> None:
        async with opened(limit=2) as lane:
            gate = Gate()
            calls = [asyncio.create_task(lane.run(gate)) for _ in range(2)]
            await gate.holds()
            with pytest.raises(ServiceError) as full:
                await lane.run(gate)
            assert full.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert full.value.reason is Reason.QUEUE_FULL
            assert full.value.retry_after_s is not None
            gate.open.set()
            await asyncio.gather(*calls)
            assert await lane.run(lambda _: 7) == 7

    run(scenario)


def test_work_whose_time_is_up_is_never_begun() -> None:
    async def scenario(loop: VirtualTimeLoop) -> None:
        async with opened() as lane:
            gate, begun = Gate(), list[str]()
            first = asyncio.create_task(lane.run(gate))
            await gate.holds()
            now_s = loop.time()
            late = asyncio.create_task(lane.run(lambda _: begun.append("late"), now_s + 30))
            timely = asyncio.create_task(lane.run(lambda _: begun.append("timely"), now_s + 31))
            await asyncio.sleep(0)
            loop.jump(30)
            gate.open.set()
            with pytest.raises(ServiceError) as passed:
                await late
            assert passed.value.reason is Reason.DEADLINE_PASSED
            await timely
            assert begun == ["timely"]
            assert await first

    in_virtual_time(scenario)


def test_the_clock_of_deadlines_is_the_monotonic_one() -> None:
    """Callers count from ``time.monotonic``."""

    async def scenario() -> None:
        async with opened() as lane:
            with pytest.raises(ServiceError) as passed:
                await lane.run(lambda _: 1, time.monotonic())
            assert passed.value.reason is Reason.DEADLINE_PASSED
            assert await lane.run(lambda _: 1, time.monotonic() + patient(HANG_S)) == 1

    run(scenario)


def test_callers_that_go_away_take_their_work_with_them() -> None:
    async def scenario() -> None:
        async with opened(limit=2) as lane:
            gate, begun = Gate(), list[int]()
            running = asyncio.create_task(lane.run(gate))
            waiting = asyncio.create_task(lane.run(begun.append))  # type: ignore[arg-type]
            await gate.holds()
            for call in (running, waiting):
                call.cancel()
            await asyncio.wait({running, waiting})
            assert lane.pending == 1  # the thread is still busy with the first
            seen = list[bool]()
            third = asyncio.create_task(
                lane.run(lambda cancellation: seen.append(cancellation.cancelled))
            )
            gate.open.set()
            await third
            assert (begun, seen) == ([], [False])

    run(scenario)


def test_running_work_learns_that_nobody_waits() -> None:
    async def scenario() -> None:
        async with opened() as lane:
            gate, said = Gate(), list[str]()

            def work(cancellation: Cancellation) -> None:
                cancellation.check()
                said.append("wanted")
                gate(cancellation)
                try:
                    cancellation.check()
                except Stopped:
                    said.append("stopped")
                    raise
                said.append("wanted")

            call = asyncio.create_task(lane.run(work))
            await gate.holds()
            call.cancel()
            await asyncio.wait({call})
            gate.open.set()
            assert await lane.run(lambda _: "free") == "free"
            assert said == ["wanted", "stopped"]

    run(scenario)


def test_errors_of_work_reach_its_caller_and_nobody_else() -> None:
    async def scenario() -> None:
        async with opened() as lane:
            good = asyncio.create_task(lane.run(lambda _: 1))
            with pytest.raises(ZeroDivisionError):
                await lane.run(lambda _: 1 // 0)
            assert await good == 1

    run(scenario)


def counting(
    end: int, fail_at: int | None = None
) -> Callable[[Cancellation], Generator[int, None, str]]:
    def produce(_: Cancellation) -> Generator[int, None, str]:
        for number in range(end):
            if number == fail_at:
                raise ValueError("broken")
            yield number
        return "end"

    return produce


def test_a_stream_gives_items_as_they_come_then_the_result() -> None:
    async def scenario() -> None:
        async with opened() as lane:
            gate = Gate()

            def produce(cancellation: Cancellation) -> Generator[int, None, str]:
                yield 1
                gate(cancellation)
                yield 2
                return "end"

            items = []
            async for item in lane.stream(produce):
                items.append(item)
                gate.open.set()  # the first item is here before the second is made
            assert items == [1, 2, Last("end")]
            for size in (0, 1, 50):
                items = [item async for item in lane.stream(counting(size))]
                assert items == [*range(size), Last("end")]

    run(scenario)


def test_a_stream_that_breaks_gives_what_it_had_then_the_error() -> None:
    async def scenario() -> None:
        async with opened() as lane:
            seen = list[object]()

            async def read() -> None:
                async for item in lane.stream(counting(9, fail_at=3)):
                    seen.append(item)

            with pytest.raises(ValueError, match="broken"):
                await read()
            assert seen == [0, 1, 2]

    run(scenario)


def test_a_reader_that_leaves_stops_the_work() -> None:
    async def scenario() -> None:
        async with opened() as lane:
            gate, made = Gate(), list[int]()

            def produce(cancellation: Cancellation) -> Generator[int, None, None]:
                for number in range(1_000):
                    made.append(number)
                    yield number
                    gate(cancellation)

            stream = lane.stream(produce)
            await anext(stream)
            await gate.holds()
            await stream.aclose()
            gate.open.set()
            assert await lane.run(lambda _: "free") == "free"
            assert made == [0, 1], "the one in the making when the reader left is the last"

    run(scenario)


def test_draining_ends_with_what_runs() -> None:
    async def scenario(loop: VirtualTimeLoop) -> None:
        async with opened() as lane:
            gate = Gate()
            running = asyncio.create_task(lane.run(gate))
            await gate.holds()
            draining = asyncio.create_task(lane.drain(3_600))
            await asyncio.sleep(0)
            assert not draining.done()
            gate.open.set()
            await draining
            assert lane.pending == 0
            assert await running

    in_virtual_time(scenario)


def test_draining_waits_for_what_runs_and_stopping_ends_what_waits() -> None:
    async def scenario() -> None:
        lane = ComputeLane(4)
        await lane.start()
        gate = Gate()
        running = asyncio.create_task(lane.run(gate))
        waiting = asyncio.create_task(lane.run(lambda _: 1))
        await gate.holds()
        await lane.drain(0.01)  # to its end: nothing is done before the gate opens
        assert lane.pending == 2
        stopping = asyncio.create_task(lane.stop())
        with pytest.raises(ServiceError) as cut:
            await running
        assert cut.value.code is grpc.StatusCode.UNAVAILABLE
        assert not stopping.done(), "the thread still works"
        gate.open.set()
        await stopping
        with pytest.raises(ServiceError) as ended:
            await waiting
        assert ended.value.code is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(ServiceError):
            await lane.run(lambda _: 1)
        assert lane.pending == 0
        assert not [t for t in threading.enumerate() if t.name.startswith("compute")]

    run(scenario)
