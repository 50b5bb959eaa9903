"""What every store must do: the one in memory and the one in a real Redis."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from flashtalk.errors import InputError
from services.gateway.store.limits import WAITING_INTERRUPTS, StoreLimits
from services.gateway.store.memory import MemoryStore
from services.gateway.store.records import InterruptOutcome, InterruptRequest
from services.gateway.store.redis_store import RedisStore
from services.gateway.store.session_store import (
    FenceLost,
    RequestConflict,
    SessionBusy,
    SessionGone,
    SessionStore,
)
from tests.fakes.real_redis import RedisServer
from tests.integration.gateway.records import asset, plan, same, setting, state
from tests.patience import patient

# Lives so long that nothing ends by itself while a test runs: it moves the time (``Age``).
LIMITS = StoreLimits(
    deadline_s=patient(60),
    attempt_s=patient(20),
    owner_timeout_s=1_000,
    tombstone_s=2_000,
    interrupt_s=1_000,
    answer_s=1_500,
    asset_margin_s=1_000,
)
Age = Callable[[float], Awaitable[None]]
"""As if so many seconds had gone by."""
Test = Callable[[SessionStore], Awaitable[None]]
TimedTest = Callable[[SessionStore, Age], Awaitable[None]]


@asynccontextmanager
async def opened(kind: str, redis: RedisServer) -> AsyncIterator[tuple[SessionStore, Age]]:
    """A store of its own: in a shared server it has its own prefix."""
    store: SessionStore
    clock_s = 1_000.0
    prefix = f"test-{uuid.uuid4().hex[:8]}"

    async def age(seconds: float) -> None:
        nonlocal clock_s
        if kind == "memory":
            clock_s += seconds
        else:
            await redis.age(prefix, seconds)

    if kind == "memory":
        store = MemoryStore(LIMITS, now_s=lambda: clock_s, wall_s=lambda: time.time())
    else:
        store = RedisStore(redis.url, dataclasses.replace(LIMITS, prefix=prefix))
    try:
        yield store, age
    finally:
        await store.close()


@pytest.fixture(params=["memory", "redis"])
def run_timed(request: pytest.FixtureRequest, redis: RedisServer) -> Callable[[TimedTest], None]:
    def with_store(test: TimedTest) -> None:
        async def body() -> None:
            async with asyncio.timeout(patient(120)), opened(request.param, redis) as (store, age):
                await test(store, age)

        asyncio.run(body())

    return with_store


@pytest.fixture
def run(run_timed: Callable[[TimedTest], None]) -> Callable[[Test], None]:
    def with_store(test: Test) -> None:
        run_timed(lambda store, _: test(store))

    return with_store


def test_what_is_stored_comes_back_bit_by_bit(run: Callable[[Test], None]) -> None:
    async def body(store: SessionStore) -> None:
        given = setting()
        made, new = await store.create(given, state(), asset())
        assert new
        found = await store.load(given.session_id)
        assert same(made, found)
        assert found.setting == given
        assert same(found.state, state())
        assert same(await store.asset(given.asset), asset())
        light = await store.load(given.session_id, light=True)
        assert light.setting == given
        assert light.state.history == ()
        assert light.state.position.tail_S.size == 0

    run(body)


def test_a_request_makes_one_session(run: Callable[[Test], None]) -> None:
    async def body(store: SessionStore) -> None:
        first = setting()
        twins = [
            dataclasses.replace(first, session_id=f"{first.session_id}-{number}")
            for number in range(8)
        ]
        made = await asyncio.gather(*(store.create(twin, state(), asset()) for twin in twins))
        assert sum(new for _, new in made) == 1
        assert len({record.setting.session_id for record, _ in made}) == 1
        assert len((await store.page(50, "")).records) == 1
        other = dataclasses.replace(first, session_id="other", request_digest="b" * 64)
        with pytest.raises(RequestConflict):
            await store.create(other, state(), asset())
        with pytest.raises(RequestConflict):
            await store.find_request(first.request_id, "b" * 64)
        known = await store.find_request(first.request_id, first.request_digest)
        assert known is not None
        assert known.setting.session_id == made[0][0].setting.session_id
        assert await store.find_request("never", "a" * 64) is None
        await store.delete(known.setting.session_id)
        assert await store.find_request(first.request_id, first.request_digest) is None
        again, new = await store.create(other, state(), asset())
        assert new
        assert again.setting.session_id == "other"

    run(body)


def test_commits_keep_exactly_the_newest_state(run: Callable[[Test], None]) -> None:
    """Ten chunks, begun and committed; at every point a taker sees exactly what was written."""

    async def body(store: SessionStore) -> None:
        given = setting()
        await store.create(given, state(), asset())
        fence = (await store.claim(given.session_id, "a", replace=False)).fence
        for chunk in range(10):
            await store.begin(given.session_id, fence, plan(chunk))
            begun = (await store.load(given.session_id)).state
            assert same(begun, state(chunk, begun=True)), chunk
            await store.commit(given.session_id, fence, state(chunk + 1))
            assert same((await store.load(given.session_id)).state, state(chunk + 1)), chunk
        cut = dataclasses.replace(state(10, begun=True), epoch=3)
        await store.commit(given.session_id, fence, cut)
        taken = await store.claim(given.session_id, "b", replace=True)
        assert same(taken.state, cut)
        # The taker goes on at once, without having sent any of the old arrays itself.
        await store.commit(given.session_id, taken.fence, state(11))
        assert same((await store.load(given.session_id)).state, state(11))

    run(body)


def test_who_lost_the_fence_writes_nothing(run: Callable[[Test], None]) -> None:
    async def body(store: SessionStore) -> None:
        given = setting()
        await store.create(given, state(), asset())
        old = (await store.claim(given.session_id, "a", replace=False)).fence
        with pytest.raises(SessionBusy):
            await store.claim(given.session_id, "b", replace=False)
        new = (await store.claim(given.session_id, "b", replace=True)).fence
        assert new > old
        for write in (
            store.begin(given.session_id, old, plan(0)),
            store.commit(given.session_id, old, state(5)),
            store.heartbeat(given.session_id, old),
            store.release(given.session_id, old),
        ):
            with pytest.raises(FenceLost):
                await write
        after = await store.load(given.session_id)
        assert same(after.state, state())
        assert after.owner == "b"
        await store.release(given.session_id, new)
        assert (await store.load(given.session_id)).owner == ""
        assert (await store.claim(given.session_id, "c", replace=False)).fence > new

    run(body)


def test_a_silent_owner_loses_its_session(run_timed: Callable[[TimedTest], None]) -> None:
    async def body(store: SessionStore, age: Age) -> None:
        given = setting()
        await store.create(given, state(), asset())
        first = await store.claim(given.session_id, "a", replace=False)
        for _ in range(4):
            await age(0.6 * LIMITS.owner_timeout_s)
            await store.heartbeat(given.session_id, first.fence)
        for _ in range(2):
            with pytest.raises(SessionBusy):
                await store.claim(given.session_id, "b", replace=False)
            await age(0.6 * LIMITS.owner_timeout_s)
        assert (await store.claim(given.session_id, "b", replace=False)).owner == "b"

    run_timed(body)


def test_sessions_end_by_themselves_and_by_order(run_timed: Callable[[TimedTest], None]) -> None:
    async def body(store: SessionStore, age: Age) -> None:
        short, kept = setting(ttl_s=1_000.0), setting(asset="d" * 64)
        await store.create(short, state(), asset())
        await store.create(kept, state(), asset("d" * 64))
        fence = (await store.claim(short.session_id, "a", replace=False)).fence
        for _ in range(4):  # each word from the owner moves the end
            await age(0.6 * short.ttl_s)
            assert not (await store.heartbeat(short.session_id, fence)).deleted
        await age(1.2 * short.ttl_s)
        with pytest.raises(SessionGone):
            await store.load(short.session_id)
        with pytest.raises(SessionGone):
            await store.commit(short.session_id, fence, state(1))
        # The owner may still learn what happened.
        assert (await store.heartbeat(short.session_id, fence)).deleted
        await age(LIMITS.asset_margin_s)
        with pytest.raises(SessionGone):
            await store.asset(short.asset)
        fence = (await store.claim(kept.session_id, "a", replace=False)).fence
        assert await store.delete(kept.session_id)
        assert not await store.delete(kept.session_id)
        assert (await store.heartbeat(kept.session_id, fence)).deleted
        for call in (store.load(kept.session_id), store.claim(kept.session_id, "a", replace=True)):
            with pytest.raises(SessionGone):
                await call
        assert (await store.page(10, "")).records == ()

    run_timed(body)


def test_a_tombstone_is_no_more_after_its_time(run_timed: Callable[[TimedTest], None]) -> None:
    async def body(store: SessionStore, age: Age) -> None:
        given = setting()
        await store.create(given, state(), asset())
        fence = (await store.claim(given.session_id, "a", replace=False)).fence
        await store.delete(given.session_id)
        await age(0.8 * LIMITS.tombstone_s)
        assert (await store.heartbeat(given.session_id, fence)).deleted
        await age(0.4 * LIMITS.tombstone_s)
        with pytest.raises(SessionGone):
            await store.heartbeat(given.session_id, fence)

    run_timed(body)


def test_no_session_outlives_its_longest_life(run_timed: Callable[[TimedTest], None]) -> None:
    async def body(store: SessionStore, age: Age) -> None:
        given = setting(ttl_s=6_000.0, max_lifetime_s=4_000.0)
        await store.create(given, state(), asset())
        fence = (await store.claim(given.session_id, "a", replace=False)).fence
        for _ in range(4):
            assert not (await store.heartbeat(given.session_id, fence)).deleted
            await age(0.3 * given.max_lifetime_s)
        assert (await store.heartbeat(given.session_id, fence)).deleted
        with pytest.raises(SessionGone):
            await store.load(given.session_id)

    run_timed(body)


def test_an_asset_lives_as_long_as_any_of_its_sessions(
    run_timed: Callable[[TimedTest], None],
) -> None:
    async def body(store: SessionStore, age: Age) -> None:
        short, long = setting(ttl_s=1_000.0), setting(ttl_s=10_000.0)
        await store.create(long, state(), asset())
        await store.create(short, state(), asset())
        await age(2 * (short.ttl_s + LIMITS.asset_margin_s))
        assert same(await store.asset(long.asset), asset())
        with pytest.raises(SessionGone):
            await store.load(short.session_id)

    run_timed(body)


def test_an_interruption_from_elsewhere_is_heard_once_and_answered(
    run_timed: Callable[[TimedTest], None],
) -> None:
    async def body(store: SessionStore, age: Age) -> None:
        given = setting()
        await store.create(given, state(), asset())
        name = given.session_id
        fence = (await store.claim(name, "a", replace=False)).fence
        await store.ask_interrupt(name, InterruptRequest("i-1", 40))
        await store.ask_interrupt(name, InterruptRequest("i-2", None))
        assert (await store.heartbeat(name, fence)).interrupts == (
            InterruptRequest("i-1", 40),
            InterruptRequest("i-2", None),
        )
        assert (await store.heartbeat(name, fence)).interrupts == ()
        assert await store.interrupt_outcome(name, "i-1") is None
        outcome = InterruptOutcome("i-1", 40, 25_600, 7, 1, 30_000, 2)
        await store.answer_interrupt(name, outcome)
        assert await store.interrupt_outcome(name, "i-1") == outcome
        await age(0.6 * LIMITS.answer_s)
        assert await store.interrupt_outcome(name, "i-1") == outcome
        await age(0.6 * LIMITS.answer_s)
        assert await store.interrupt_outcome(name, "i-1") is None
        # Nobody listens: it is not carried out later, when it means nothing any more.
        await store.ask_interrupt(name, InterruptRequest("i-3", 1))
        await age(0.6 * LIMITS.interrupt_s)
        await store.ask_interrupt(name, InterruptRequest("i-4", 2))
        await age(0.6 * LIMITS.interrupt_s)
        assert (await store.heartbeat(name, fence)).interrupts == (InterruptRequest("i-4", 2),)
        await store.ask_interrupt(name, InterruptRequest("i-5", 3))
        await age(1.2 * LIMITS.interrupt_s)
        assert (await store.heartbeat(name, fence)).interrupts == ()
        for number in range(3 * WAITING_INTERRUPTS):
            await store.ask_interrupt(name, InterruptRequest(f"j-{number}", None))
        waiting = (await store.heartbeat(name, fence)).interrupts
        assert len(waiting) == WAITING_INTERRUPTS
        assert waiting[-1].interrupt_id == f"j-{3 * WAITING_INTERRUPTS - 1}"
        with pytest.raises(SessionGone):
            await store.ask_interrupt("never", InterruptRequest("i", None))
        with pytest.raises(SessionGone):
            await store.interrupt_outcome("never", "i")

    run_timed(body)


def test_pages_show_every_session_once_oldest_first(run: Callable[[Test], None]) -> None:
    async def body(store: SessionStore) -> None:
        times = [100.0, 200.0, 200.0, 200.0, 300.125, 400.0, 500.0]
        life = {"max_lifetime_s": 1e10}
        made = [setting(created_s=time_s, **life) for time_s in times]
        for given in reversed(made):
            await store.create(given, state(), asset())
        expected = sorted((given.created_s, given.session_id) for given in made)
        for size in (1, 2, 3, 7, 20):
            seen, token = [], ""
            while True:
                page = await store.page(size, token)
                assert len(page.records) <= size
                seen += [(r.setting.created_s, r.setting.session_id) for r in page.records]
                if not page.next_token:
                    break
                token = page.next_token
            assert seen == expected, size
        with pytest.raises(InputError, match="page_token"):
            await store.page(5, "x:y")

    run(body)


def test_slots_are_leased_to_as_many_sessions_as_there_are(
    run_timed: Callable[[TimedTest], None],
) -> None:
    async def body(store: SessionStore, age: Age) -> None:
        names = [f"s-{number}" for number in range(10)]
        taken = await asyncio.gather(*(store.take_slot("w", 3, name, 5_000) for name in names))
        assert sum(taken) == 3
        holders = [name for name, has in zip(names, taken, strict=True) if has]
        assert await store.take_slot("w", 3, holders[0], 5_000)  # a lease is renewed, not doubled
        assert await store.taken_slots(["w", "v"]) == {"w": 3, "v": 0}
        assert await store.find_slot(["v", "w"], holders[1]) == "w"
        assert await store.find_slot(["v", "w"], "nobody") is None
        await store.give_slot("w", holders[0])
        await store.give_slot("w", "nobody")
        assert await store.take_slot("w", 3, "late", 1_000)
        assert not await store.take_slot("w", 3, "later", 1_000)
        await age(1_200)
        assert await store.take_slot("w", 3, "later", 1_000)
        assert await store.find_slot(["w"], "late") is None

    run_timed(body)


@pytest.mark.parametrize("jump_s", [70.0, -3_600.0, 86_400.0 * 365])
def test_a_clock_that_somebody_sets_ends_nothing_and_keeps_nothing(
    run_timed: Callable[[TimedTest], None], monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    """That of a gateway: what a store keeps goes by a clock that only goes forwards."""

    async def body(store: SessionStore, age: Age) -> None:
        given = setting(ttl_s=1_000.0)
        await store.create(given, state(), asset())
        fence = (await store.claim(given.session_id, "a", replace=False)).fence
        assert await store.take_slot("w", 1, given.session_id, 1_000)
        real_s = time.time
        monkeypatch.setattr(time, "time", lambda: real_s() + jump_s)
        assert not (await store.heartbeat(given.session_id, fence)).deleted
        assert (await store.load(given.session_id)).owner == "a"
        assert await store.find_slot(["w"], given.session_id) == "w"
        await age(1.2 * given.ttl_s)
        with pytest.raises(SessionGone):
            await store.load(given.session_id)
        assert await store.find_slot(["w"], given.session_id) is None

    run_timed(body)


def test_the_store_in_memory_goes_by_the_monotonic_clock() -> None:
    assert MemoryStore()._now_s is time.monotonic
