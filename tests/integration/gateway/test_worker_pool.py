"""The pool on real ports: who is chosen, who is left out, who keeps which session's slot."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import grpc
import pytest

from flashtalk.serving.errors import Reason, ServiceError
from services.gateway.store.memory import MemoryStore
from services.gateway.workers import PoolWaits, Role, Worker, WorkerPool, WorkerTargets
from tests.fakes.stand_in_workers import StandIn
from tests.integration.gateway.suite import StandInServer, run

DIT = Role.DIT_WORKER


@contextlib.asynccontextmanager
async def serving(*stand_ins: StandIn) -> AsyncIterator[list[StandInServer]]:
    """Servers in the order in which a pool lists them."""
    started = [await StandInServer.start(stand_in) for stand_in in stand_ins]
    servers = sorted(started, key=lambda server: server.target)
    try:
        yield servers
    finally:
        for server in servers:
            await server.kill()


def pool_on(
    servers: list[StandInServer], store: MemoryStore | None = None, poll_s: float = 0.05
) -> WorkerPool:
    target = ",".join(server.target for server in servers)
    waits = PoolWaits(poll_s=poll_s, probe_s=1.0, lease_s=60.0)
    return WorkerPool(WorkerTargets(target, target, target), store or MemoryStore(), waits)


async def chosen(pool: WorkerPool, times: int, role: Role = DIT) -> collections.Counter[str]:
    found = [(await pool.choose(role, timeout_s=5)).target for _ in range(times)]
    return collections.Counter(found)


async def until(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def knows(pool: WorkerPool, *servers: StandInServer) -> Callable[[], bool]:
    """Whether exactly these are ready."""
    return lambda: [w.target for w in pool._ready(DIT)] == sorted(s.target for s in servers)


async def taken(store: MemoryStore, worker: Worker, worker_id: str = "") -> int:
    name = worker_id or worker.worker_id
    return (await store.taken_slots([name]))[name]


async def nobody(work: asyncio.Future[Worker] | asyncio.Task[Worker], limit_s: float) -> None:
    """Work that ends with NO_WORKER, and in time."""
    begun_s = time.monotonic()
    with pytest.raises(ServiceError, match=r"was ready within 0\.2 s") as refused:
        await work
    assert 0.15 < time.monotonic() - begun_s < limit_s
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
            pool.suspect(await pool.choose(DIT, timeout_s=5))
            for _ in range(turns):
                await asyncio.sleep(0)

    run(scenario, limit_s=10)


def test_a_suspect_is_left_out_until_it_is_found_serving() -> None:
    async def scenario() -> None:
        async with serving(StandIn(), StandIn()) as servers, pool_on(servers, poll_s=2) as pool:
            suspect = await pool.choose(DIT, timeout_s=5)
            pool.suspect(suspect)
            counts = await chosen(pool, 10)
            assert suspect.target not in counts
            assert counts.total() == 10
            assert suspect.failures == 1
            # Long before the next poll is due.
            await until(knows(pool, *servers), 1.5)
            assert len(await chosen(pool, 10)) == 2
            for worker in pool._ready(DIT):
                pool.suspect(worker)
            assert await chosen(pool, 1), "whoever is found serving first"

    run(scenario)


def test_a_worker_that_goes_away_is_left_out_and_one_that_comes_back_is_another() -> None:
    async def scenario() -> None:
        async with serving(StandIn(), StandIn()) as servers, pool_on(servers) as pool:
            before = {w.target: w.worker_id for w in pool._ready(DIT)}
            await servers[0].kill()
            await until(knows(pool, servers[1]))
            assert await chosen(pool, 5) == {servers[1].target: 5}
            servers[0] = await StandInServer.start(StandIn(), servers[0].port)
            await until(knows(pool, *servers))
            after = {w.target: w.worker_id for w in pool._ready(DIT)}
            assert after[servers[0].target] != before[servers[0].target]
            assert after[servers[1].target] == before[servers[1].target]
            assert len(await chosen(pool, 4)) == 2

    run(scenario)


def test_without_anybody_ready_in_time_the_answer_is_no_worker() -> None:
    async def scenario() -> None:
        async with serving(StandIn()) as servers:
            await servers[0].kill()
            async with pool_on(servers) as pool:
                for role in Role:
                    with pytest.raises(ServiceError, match=role.value):
                        await pool.choose(role, timeout_s=0.01)
                await nobody(asyncio.ensure_future(pool.choose(DIT, timeout_s=0.2)), 1)
                await nobody(asyncio.ensure_future(pool.move("a", timeout_s=0.2)), 1)
                await nobody(asyncio.ensure_future(pool.holder("a", timeout_s=0.2)), 1)
                assert await pool.reserve("a", lease_s=60) is None
                assert await pool.free_slots() == (0, 0)
                assert (pool.sizes_hw(), pool.chunk_s, pool.weights_digest) == ([], 0, "")
                waiting = asyncio.ensure_future(pool.choose(DIT, timeout_s=10))
                await asyncio.sleep(0.1)
                servers[0] = await StandInServer.start(StandIn(), servers[0].port)
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
        store = MemoryStore()
        async with (
            serving(StandIn(slots=1), StandIn(slots=2)) as servers,
            pool_on(servers, store) as pool,
            pool_on(servers, store) as other,
        ):
            assert await pool.free_slots() == (3, 3)
            for count, name in enumerate("abc"):
                assert await (pool, other)[count % 2].reserve(name, lease_s=60)
                assert await other.free_slots() == (2 - count, 3)
            assert await pool.reserve("d", lease_s=60) is None
            assert await other.reserve("d", lease_s=60) is None
            await pool.give_back("b")
            assert await pool.free_slots() == (0, 3), "it is the other gateway's to give"
            await other.give_back("b")
            await other.give_back("b")
            await other.give_back("never had one")
            assert await pool.free_slots() == (1, 3)
            assert await pool.reserve("d", lease_s=60)

    run(scenario)


def test_a_session_stays_where_its_slot_is_and_moves_when_that_worker_is_lost() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with (
            serving(StandIn(slots=2), StandIn(slots=2)) as servers,
            pool_on(servers, store) as pool,
        ):
            held = await pool.reserve("a", lease_s=60)
            assert held is not None
            old_id = held.worker_id
            for _ in range(3):
                assert await pool.holder("a", timeout_s=1) is held
            assert await pool.move("a", timeout_s=1) is held, "nobody else has to be found"
            assert await pool.free_slots() == (3, 4)
            lost = next(server for server in servers if server.target == held.target)
            await lost.kill()
            await until(lambda: not held.ready)
            moved = await pool.holder("a", timeout_s=1)
            assert moved.target != held.target
            assert await taken(store, held, old_id) == 0
            assert await taken(store, moved) == 1
            # One that is at the same place again is another: its slots are its own.
            servers[servers.index(lost)] = await StandInServer.start(StandIn(slots=2), lost.port)
            await until(lambda: held.ready)
            assert await pool.holder("a", timeout_s=1) is moved
            assert await pool.free_slots() == (3, 4)

    run(scenario)


def test_a_session_whose_worker_was_restarted_takes_a_slot_of_the_new_one() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with serving(StandIn(slots=1)) as servers, pool_on(servers, store) as pool:
            held = await pool.reserve("a", lease_s=60)
            assert held is not None
            old_id = held.worker_id
            await servers[0].kill()
            servers[0] = await StandInServer.start(StandIn(slots=1), servers[0].port)
            await until(lambda: held.ready and held.worker_id != old_id)
            assert await pool.holder("a", timeout_s=1) is held
            assert await taken(store, held, old_id) == 0
            assert await taken(store, held) == 1
            assert await pool.reserve("b", lease_s=60) is None

    run(scenario)


def test_a_session_waits_for_a_slot_that_somebody_gives_back() -> None:
    async def scenario() -> None:
        async with serving(StandIn(slots=1)) as servers, pool_on(servers) as pool:
            assert await pool.reserve("a", lease_s=60)
            await nobody(asyncio.ensure_future(pool.move("b", timeout_s=0.2)), 1)
            waiting = asyncio.ensure_future(pool.move("b", timeout_s=10))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await pool.give_back("a")
            assert (await waiting).target == servers[0].target
            assert await pool.free_slots() == (0, 1)

    run(scenario)
