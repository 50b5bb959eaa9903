"""What others want of a stream wakes its conductor, and is there when it looks."""

import asyncio
from collections.abc import Callable

import pytest

from services.gateway.store.records import InterruptRequest
from services.gateway.stream.intake import Mark
from services.gateway.stream.signals import Asked, StreamSignals
from tests.fakes.virtual_time import pass_time, run_virtual


def asked(name: str) -> Asked:
    return Asked(InterruptRequest(name, None), Mark(0, 0), elsewhere=False)


SIGNALS: dict[str, Callable[[StreamSignals], object]] = {
    "draining": StreamSignals.drain,
    "half_closed": StreamSignals.half_close,
    "deleted": StreamSignals.delete,
    "interrupted": lambda signals: signals.interrupt_at_once(asked("one")),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_whoever_waits_is_woken_and_sees_why(name: str) -> None:
    async def scenario() -> None:
        signals = StreamSignals()
        waiting = asyncio.create_task(signals.woken())
        await pass_time(1)
        assert not waiting.done()
        SIGNALS[name](signals)
        await waiting
        assert [flag for flag in SIGNALS if getattr(signals, flag)] == [name]
        signals.clear()
        assert getattr(signals, name), "what was said stays true"

    run_virtual(scenario)


def test_interruptions_come_in_order_and_only_so_many_wait() -> None:
    async def scenario() -> None:
        signals = StreamSignals()
        names: list[str] = []
        while signals.interrupt_at_once(asked(f"{len(names)}")):
            names.append(f"{len(names)}")
        one_more = asyncio.create_task(signals.interrupt(asked("more")))
        await pass_time(1)
        assert not one_more.done()
        taken = [signals.next_interrupt().request.interrupt_id]
        await one_more
        while signals.interrupted:
            taken.append(signals.next_interrupt().request.interrupt_id)
        assert taken == [*names, "more"]

    run_virtual(scenario)
