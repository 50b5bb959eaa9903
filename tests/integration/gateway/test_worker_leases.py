"""How long a pool keeps a session's slot, whom names stand for, what is left when it closes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from flashtalk.v1 import session_service_pb2 as pb
from services.gateway.store.memory import MemoryStore
from services.gateway.store.session_store import StoreError
from services.gateway.workers.pool import WorkerPool, WorkerTargets
from tests.fakes.in_process_grpc import Network
from tests.fakes.stand_in_workers import StandIn
from tests.fakes.virtual_suite import in_virtual_time
from tests.integration.gateway.suite import (
    SPEC,
    creation,
    finish,
    gateway,
    memory_store,
    opened,
    pool_limits,
    run,
    send,
    speech,
    undisturbed,
    watch,
)
from tests.integration.gateway.test_worker_pool import DIT, HOUR_S, knows, pool_on, serving
from tests.integration.gateway.watcher import Watcher
from tests.patience import patient, until


class SlowStore(MemoryStore):
    """May hold whoever has just leased a slot, until it is let go; and may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.go_on = asyncio.Event(), asyncio.Event()
        self.go_on.set()
        self.away = False

    async def take_slot(self, *slot: Any) -> bool:
        """See ``SessionStore``."""
        took = await super().take_slot(*slot)
        self.held.set()
        await self.go_on.wait()
        return took

    async def taken_slots(self, worker_ids: Sequence[str]) -> dict[str, int]:
        """See ``SessionStore``."""
        if self.away:
            raise StoreError("the store does not answer")
        return await super().taken_slots(worker_ids)


def test_slots_whose_leases_ran_out_are_forgotten() -> None:
    async def scenario() -> None:
        async with (
            serving(StandIn(slots=3), transport=Network()) as servers,
            pool_on(servers, poll_s=1.0) as pool,
        ):
            loop = asyncio.get_running_loop()
            begun_s = loop.time()
            for name, lease_s in (("short", 15.0), ("renewed", 15.0), ("long", HOUR_S)):
                assert await pool.reserve(name, lease_s=lease_s)
            await pool.renew("renewed", lease_s=HOUR_S)
            assert set(pool._slots) == {"short", "renewed", "long"}
            await until(lambda: set(pool._slots) == {"renewed", "long"})
            assert loop.time() - begun_s == pytest.approx(15.5, abs=0.6)
            assert await pool.free_slots() == (1, 3)
            await pool.renew("short", lease_s=HOUR_S)
            assert await pool.free_slots() == (1, 3), "it went to nobody"

    in_virtual_time(scenario)


def test_a_slot_that_was_given_back_is_not_kept_by_a_late_renewal() -> None:
    async def scenario() -> None:
        store = SlowStore()
        async with serving(StandIn(slots=2)) as servers, pool_on(servers, store) as pool:
            assert await pool.reserve("a", lease_s=HOUR_S)
            await pool.give_back("a")
            await pool.renew("a", lease_s=HOUR_S)
            assert await pool.free_slots() == (2, 2)
            # Both at the same time.
            assert await pool.reserve("b", lease_s=HOUR_S)
            store.held.clear()
            store.go_on.clear()
            renewing = asyncio.ensure_future(pool.renew("b", lease_s=HOUR_S))
            await store.held.wait()
            await pool.give_back("b")
            store.go_on.set()
            await renewing
            assert await pool.free_slots() == (2, 2)
            assert pool._slots == {}

    run(scenario)


def test_while_the_store_is_away_no_slot_is_free() -> None:
    async def scenario() -> None:
        store = SlowStore()
        async with serving(StandIn(slots=2)) as servers, pool_on(servers, store) as pool:
            store.away = True
            assert await pool.free_slots() == (0, 2)
            store.away = False
            assert await pool.free_slots() == (2, 2)

    run(scenario)


def test_a_pool_that_is_closed_leaves_no_task() -> None:
    async def scenario() -> None:
        async with serving(StandIn(), StandIn()) as servers:
            for _ in range(3):
                async with pool_on(servers) as pool:
                    assert len(poller()) == 1
                    worker = await pool.choose(DIT, timeout_s=patient(60))
                assert not poller()
                assert worker.channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
            # In the middle of looking at somebody who does not answer.
            await servers[0].kill()
            pool = pool_on(servers)
            await pool.__aenter__()
            for worker in pool._ready(DIT):
                pool.suspect(worker)
            await pool.__aexit__(None, None, None)
            assert not poller()

    run(scenario)


def poller() -> set[asyncio.Task[Any]]:
    """What works for pools."""
    return {task for task in asyncio.all_tasks() if "WorkerPool" in repr(task.get_coro())}


class Names:
    """Names of ours, each of which stands for addresses on this machine; others are not known."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **known: str) -> None:
        self.known = known
        self.asked = 0
        self.fault: Exception | None = None
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", self.getaddrinfo)

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> Any:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        address = (self.known[host], port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)] if address[0] else []


def test_a_name_that_cannot_be_resolved_for_a_while_does_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = Names(monkeypatch, first="127.0.0.1")

    async def scenario() -> None:
        async with serving(StandIn(), StandIn()) as servers:
            target = f"dns:///first:{servers[0].port},dns:///second:{servers[1].port}"
            limits = pool_limits()
            pool = WorkerPool(WorkerTargets(target, target, target), memory_store(), limits)
            async with pool:
                await until(knows(pool, servers[0]))
                asked = names.asked
                await until(lambda: names.asked > asked + 12)
                names.known["second"] = "127.0.0.1"
                await until(knows(pool, *servers))
                names.known.clear()
                asked = names.asked
                await until(lambda: names.asked > asked + 12)
                assert knows(pool, *servers)()

    run(scenario)


def test_a_worker_that_its_name_forgets_is_let_go_and_its_sessions_move(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = Names(monkeypatch, first="127.0.0.1", second="127.0.0.1")

    async def scenario() -> None:
        store = memory_store()
        async with serving(StandIn(slots=2), StandIn(slots=2)) as servers:
            target = f"dns:///first:{servers[0].port},dns:///second:{servers[1].port}"
            limits = pool_limits()
            async with WorkerPool(WorkerTargets(target, target, target), store, limits) as pool:
                held = await pool.reserve("a", lease_s=HOUR_S)
                assert held is not None
                assert held.target == servers[0].target
                names.known["first"] = ""
                await until(knows(pool, servers[1]))
                assert (await pool.holder("a", timeout_s=patient(60))).target == servers[1].target
                assert (await store.taken_slots([held.worker_id]))[held.worker_id] == 0

    run(scenario)


@pytest.mark.parametrize("frame", [1, 20, 40])
def test_a_worker_that_its_name_forgets_costs_no_stream_a_frame(
    monkeypatch: pytest.MonkeyPatch, frame: int
) -> None:
    slow = StandIn(audio_s=0.02, denoise_s=0.05, decode_s=0.05, motion_s=0.02)
    voice = speech(5 * SPEC.new_samples)
    expected = undisturbed(voice)

    async def scenario() -> None:
        names = Names(monkeypatch, first="127.0.0.1", second="127.0.0.1")
        async with serving(slow, slow) as servers:
            target = f"dns:///first:{servers[0].port},dns:///second:{servers[1].port}"
            async with gateway(target, memory_store()) as running:
                request = creation(idle_policy=pb.IDLE_POLICY_WAIT)
                made = await running.stub.CreateSession(request)
                call, _ = await opened(running.stub, made.session.session_id)
                await send(call, voice, 0)
                await finish(call)
                seen = await watch(call, Watcher(), lambda w: w.next_frame >= frame)
                names.known["first"] = ""
                await watch(call, seen)
                assert seen.video == expected

    run(scenario)


def test_whatever_a_look_fails_with_the_next_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch, first="127.0.0.1")

    async def scenario() -> None:
        async with serving(StandIn(), StandIn()) as servers:
            target = f"dns:///first:{servers[0].port},dns:///second:{servers[1].port}"
            limits = pool_limits()
            async with WorkerPool(
                WorkerTargets(target, target, target), memory_store(), limits
            ) as p:
                names.fault = KeyError("nobody thought of this")
                asked = names.asked
                await until(lambda: names.asked > asked + 2)
                names.known["second"] = "127.0.0.1"
                names.fault = None
                await until(knows(p, *servers))

    run(scenario)


@pytest.mark.parametrize("linger_s", [0.0, 60.0])
def test_a_worker_that_was_let_go_is_closed_later_and_may_come_back(
    monkeypatch: pytest.MonkeyPatch, linger_s: float
) -> None:
    names = Names(monkeypatch, only="127.0.0.1")

    async def scenario() -> None:
        async with serving(StandIn()) as servers:
            target = f"dns:///only:{servers[0].port}"
            limits = pool_limits(worker_linger_s=linger_s)
            pool = WorkerPool(WorkerTargets(target, target, target), memory_store(), limits)
            async with pool:
                worker = await pool.choose(DIT, timeout_s=patient(60))
                names.known["only"] = ""
                await until(knows(pool))
                asked = names.asked
                await until(lambda: names.asked > asked + 6)
                shut = worker.channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
                assert shut is (linger_s == 0)
                names.known["only"] = "127.0.0.1"
                await until(knows(pool, *servers))
                assert (await pool.choose(DIT, timeout_s=patient(60)) is worker) is not shut
            assert worker.channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN

    run(scenario)
