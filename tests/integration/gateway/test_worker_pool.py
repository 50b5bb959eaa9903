"""The pool: who is chosen, who is left out, who keeps which session's slot.

On real ports; in virtual time, without sockets, where it matters when something happens.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest
from prometheus_client import REGISTRY

from flashtalk.serving.errors import Reason, ServiceError
from services.gateway.store.memory import MemoryStore
from services.gateway.workers.pool import WorkerPool, WorkerTargets
from services.gateway.workers.worker import Role, Worker
from tests.fakes.in_process_grpc import Network
from tests.fakes.stand_in_workers import StandIn
from tests.fakes.virtual_suite import in_virtual_time
from tests.integration.gateway.suite import (
    SOCKETS,
    StandInServer,
    Transport,
    kept_port,
    memory_store,
    pool_limits,
    run,
)
from tests.patience import patient, until

DIT = Role.DIT_WORKER
HOUR_S = 3_600.0
"""Longer than any test may take."""


class CountedPool(WorkerPool):
    """Counts how often all workers were looked at."""

    looks = 0

    async def __aenter__(self) -> CountedPool:
        await super().__aenter__()
        return self

    async def _probe_all(self) -> None:
        await super()._probe_all()
        self.looks += 1

    async def look_again(self) -> None:
        """After another look that began after this call."""
        seen = self.looks
        await until(lambda: self.looks > seen + 1)


@contextlib.asynccontextmanager
async def serving(
    *stand_ins: StandIn, transport: Transport = SOCKETS
) -> AsyncIterator[list[StandInServer]]:
    """Servers in the order in which a pool lists them; nobody else is given the port of one."""
    with contextlib.ExitStack() as kept:
        ports = [kept.enter_context(kept_port()) for _ in stand_ins]
        started = [
            await StandInServer.start(each, port, transport)
            for each, port in zip(stand_ins, ports, strict=True)
        ]
        servers = sorted(started, key=lambda server: server.target)
        try:
            yield servers
        finally:
            for server in servers:
                await server.kill()


def pool_on(
    servers: list[StandInServer], store: MemoryStore | None = None, poll_s: float = 0.05
) -> CountedPool:
    """A pool that finds them over their own transport."""
    target = ",".join(server.target for server in servers)
    limits = pool_limits(worker_poll_s=poll_s, slot_lease_s=HOUR_S)
    every = WorkerTargets(target, target, target)
    return CountedPool(every, store or memory_store(), limits, servers[0].transport.connect)


async def chosen(pool: WorkerPool, times: int, role: Role = DIT) -> collections.Counter[str]:
    found = [(await pool.choose(role, timeout_s=patient(60))).target for _ in range(times)]
    return collections.Counter(found)


def knows(pool: WorkerPool, *servers: StandInServer) -> Callable[[], bool]:
    """Whether exactly these are ready."""
    return lambda: [w.target for w in pool._ready(DIT)] == sorted(s.target for s in servers)


def failures() -> float:
    """What operators see of calls to DiT workers that failed."""
    name = "flashtalk_worker_call_failures_total"
    return REGISTRY.get_sample_value(name, {"role": DIT.value}) or 0.0


async def taken(store: MemoryStore, worker: Worker, worker_id: str = "") -> int:
    name = worker_id or worker.worker_id
    return (await store.taken_slots([name]))[name]


def since_s(begun_s: float) -> float:
    return asyncio.get_running_loop().time() - begun_s


async def nobody(work: Awaitable[Worker], after_s: float) -> None:
    """Work that ends with NO_WORKER, exactly when it has waited for ``after_s`` of virtual time."""
    begun_s = asyncio.get_running_loop().time()
    with pytest.raises(ServiceError, match=f"was ready within {after_s:g} s") as refused:
        await work
    assert since_s(begun_s) == pytest.approx(after_s)
    assert refused.value.code is grpc.StatusCode.UNAVAILABLE
    assert refused.value.reason is Reason.NO_WORKER
    assert (refused.value.retry_after_s or 0) > 0


def test_workers_take_turns_in_every_role() -> None:
    async def scenario() -> None:
        async with serving(*[StandIn()] * 3) as servers, pool_on(servers) as pool:
            for role in Role:
                counts = await chosen(pool, 9, role)
                assert counts == {server.target: 3 for server in servers}

    run(scenario)


@pytest.mark.parametrize("turns", range(8))
def test_a_pool_closes_whatever_its_poller_is_about_to_do(turns: int) -> None:
    """However many turns of the event loop lie between the wake-up of the poller and its end."""

    async def scenario() -> None:
        async with serving(StandIn()) as servers, pool_on(servers, poll_s=0.2) as pool:
            pool.suspect(await pool.choose(DIT, timeout_s=patient(60)))
            for _ in range(turns):
                await asyncio.sleep(0)

    run(scenario)


def test_a_suspect_is_left_out_until_it_is_found_serving() -> None:
    async def scenario() -> None:
        network = Network()
        async with (
            serving(StandIn(), StandIn(), transport=network) as servers,
            pool_on(servers, poll_s=100) as pool,
        ):
            suspect = await pool.choose(DIT, timeout_s=1)
            begun_s, counted = asyncio.get_running_loop().time(), failures()
            assert pool.ready_counts()[DIT] == 2
            pool.suspect(suspect)
            counts = await chosen(pool, 10)
            assert suspect.target not in counts
            assert counts.total() == 10
            assert suspect.failures == 1
            assert failures() == counted + 1
            assert pool.ready_counts()[DIT] == 1
            # After a moment, and long before the next look is due.
            await until(knows(pool, *servers), 100)
            assert since_s(begun_s) == pytest.approx(10, abs=0.1)
            assert len(await chosen(pool, 10)) == 2
            for worker in pool._ready(DIT):
                pool.suspect(worker)
            assert (await pool.choose(DIT, timeout_s=100)).ready, "whoever is found first"

    in_virtual_time(scenario)


def test_a_worker_that_goes_away_is_left_out_and_one_that_comes_back_is_another() -> None:
    async def scenario() -> None:
        async with serving(StandIn(), StandIn()) as servers, pool_on(servers) as pool:
            before = {w.target: w.worker_id for w in pool._ready(DIT)}
            await servers[0].kill()
            await until(knows(pool, servers[1]))
            assert await chosen(pool, 5) == {servers[1].target: 5}
            servers[0] = await servers[0].again()
            await until(knows(pool, *servers))
            after = {w.target: w.worker_id for w in pool._ready(DIT)}
            assert after[servers[0].target] != before[servers[0].target]
            assert after[servers[1].target] == before[servers[1].target]
            assert len(await chosen(pool, 4)) == 2

    run(scenario)


@pytest.mark.parametrize("poll_s", [0.05, HOUR_S])
def test_without_anybody_ready_in_time_the_answer_is_no_worker(poll_s: float) -> None:
    """However long it is until the pool looks again."""

    async def scenario() -> None:
        async with serving(StandIn(), transport=Network()) as servers:
            await servers[0].kill()
            async with pool_on(servers, poll_s=poll_s) as pool:
                for role in Role:
                    with pytest.raises(ServiceError, match=role.value):
                        await pool.choose(role, timeout_s=0.01)
                await nobody(pool.choose(DIT, timeout_s=0.2), 0.2)
                await nobody(pool.move("a", timeout_s=0.2), 0.2)
                await nobody(pool.holder("a", timeout_s=0.2), 0.2)
                assert await pool.reserve("a", lease_s=HOUR_S) is None
                assert await pool.free_slots() == (0, 0)
                assert (pool.sizes_hw(), pool.chunk_s, pool.weights_digest) == ([], 0, "")

    in_virtual_time(scenario)


def test_whoever_waits_gets_the_worker_that_comes() -> None:
    async def scenario() -> None:
        async with serving(StandIn()) as servers:
            await servers[0].kill()
            async with pool_on(servers) as pool:
                waiting = asyncio.ensure_future(pool.choose(DIT, timeout_s=patient(60)))
                await pool.look_again()
                assert not waiting.done()
                servers[0] = await servers[0].again()
                assert (await waiting).target == servers[0].target

    run(scenario)


def test_what_workers_say_of_themselves_is_what_the_pool_says() -> None:
    async def scenario() -> None:
        fast, slow = StandIn((64, 32), denoise_s=0.3), StandIn((32, 64), denoise_s=0.6)
        async with serving(fast, slow) as servers, pool_on(servers) as pool:
            first = servers[0].workers.stand_in.size_hw
            assert pool.sizes_hw() == [first, first[::-1]]
            assert pool.chunk_s == pytest.approx(0.6)
            assert pool.weights_digest == "0" * 64
            assert pool.default_prompt == "somebody speaks"

    run(scenario)


def test_slots_are_filled_and_then_there_is_none() -> None:
    async def scenario() -> None:
        store = memory_store()
        async with (
            serving(StandIn(slots=1), StandIn(slots=2)) as servers,
            pool_on(servers, store) as pool,
            pool_on(servers, store) as other,
        ):
            assert await pool.free_slots() == (3, 3)
            for count, name in enumerate("abc"):
                assert await (pool, other)[count % 2].reserve(name, lease_s=HOUR_S)
                assert await other.free_slots() == (2 - count, 3)
            assert await pool.reserve("d", lease_s=HOUR_S) is None
            assert await other.reserve("d", lease_s=HOUR_S) is None
            await pool.give_back("b")
            assert await pool.free_slots() == (0, 3), "it is the other gateway's to give"
            await other.give_back("b")
            await other.give_back("b")
            await other.give_back("never had one")
            assert await pool.free_slots() == (1, 3)
            assert await pool.reserve("d", lease_s=HOUR_S)

    run(scenario)


def test_a_session_stays_where_its_slot_is_and_moves_when_that_worker_is_lost() -> None:
    async def scenario() -> None:
        store = memory_store()
        async with (
            serving(StandIn(slots=2), StandIn(slots=2)) as servers,
            pool_on(servers, store) as pool,
        ):
            held = await pool.reserve("a", lease_s=HOUR_S)
            assert held is not None
            old_id = held.worker_id
            for _ in range(3):
                assert await pool.holder("a", timeout_s=patient(60)) is held
            assert await pool.move("a", timeout_s=patient(60)) is held, (
                "nobody else has to be found"
            )
            assert await pool.free_slots() == (3, 4)
            lost = next(server for server in servers if server.target == held.target)
            await lost.kill()
            await until(lambda: not held.ready)
            moved = await pool.holder("a", timeout_s=patient(60))
            assert moved.target != held.target
            assert await taken(store, held, old_id) == 0
            assert await taken(store, moved) == 1
            # One that is at the same place again is another: its slots are its own.
            servers[servers.index(lost)] = await lost.again()
            await until(lambda: held.ready)
            assert await pool.holder("a", timeout_s=patient(60)) is moved
            assert await pool.free_slots() == (3, 4)

    run(scenario)


def test_a_session_whose_worker_was_restarted_takes_a_slot_of_the_new_one() -> None:
    async def scenario() -> None:
        store = memory_store()
        async with serving(StandIn(slots=1)) as servers, pool_on(servers, store) as pool:
            held = await pool.reserve("a", lease_s=HOUR_S)
            assert held is not None
            old_id = held.worker_id
            await servers[0].kill()
            servers[0] = await servers[0].again()
            await until(lambda: held.ready and held.worker_id != old_id)
            assert await pool.holder("a", timeout_s=patient(60)) is held
            assert await taken(store, held, old_id) == 0
            assert await taken(store, held) == 1
            assert await pool.reserve("b", lease_s=HOUR_S) is None

    run(scenario)


def test_a_session_waits_for_a_slot_that_somebody_gives_back() -> None:
    async def scenario() -> None:
        async with (
            serving(StandIn(slots=1), transport=Network()) as servers,
            pool_on(servers) as pool,
        ):
            assert await pool.reserve("a", lease_s=HOUR_S)
            await nobody(pool.move("b", timeout_s=0.2), 0.2)
            waiting = asyncio.ensure_future(pool.move("b", timeout_s=10))
            await pool.look_again()
            assert not waiting.done()
            await pool.give_back("a")
            assert (await waiting).target == servers[0].target
            assert await pool.free_slots() == (0, 1)

    in_virtual_time(scenario)
