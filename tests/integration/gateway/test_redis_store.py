"""What only a real Redis can do to a gateway: go away, come back, forget, answer late."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from flashtalk.errors import InputError
from services.gateway.store import calls, open_store
from services.gateway.store.limits import StoreLimits
from services.gateway.store.redis_store import RedisStore
from services.gateway.store.session_store import SessionBusy, SessionGone, StoreError
from tests.fakes.real_redis import RedisServer, redis_server
from tests.integration.gateway.records import asset, plan, same, setting, state
from tests.patience import patient, until_true

# What only guards against hanging is long; nothing ends by itself while a test runs.
LIMITS = StoreLimits(
    deadline_s=patient(60), attempt_s=patient(20), tombstone_s=2_000, asset_margin_s=1_000
)
TURNS = 9
"""Of the event loop: more than a call needs to be written."""


@asynccontextmanager
async def store_of(redis: RedisServer, limits: StoreLimits = LIMITS) -> AsyncIterator[RedisStore]:
    prefix = f"test-{uuid.uuid4().hex[:8]}"
    store = RedisStore(redis.url, dataclasses.replace(limits, prefix=prefix))
    try:
        yield store
    finally:
        await store.close()


@contextlib.contextmanager
def hurried(store: RedisStore, deadline_s: float) -> Iterator[None]:
    """In here its calls end after so long."""
    limits = store._calls._limits
    store._calls._limits = dataclasses.replace(limits, deadline_s=deadline_s)
    try:
        yield
    finally:
        store._calls._limits = limits


def errors(cause: str) -> float:
    """What operators see of calls of the store that failed."""
    return REGISTRY.get_sample_value("flashtalk_store_errors_total", {"cause": cause}) or 0.0


def test_a_restarted_server_has_lost_nothing_that_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed and started again under a writer: its calls wait, and every write is there once."""

    async def body(redis: RedisServer) -> None:
        midway, missed = asyncio.Event(), asyncio.Event()

        async def attempt_failed(_: Exception) -> None:
            missed.set()

        monkeypatch.setattr(calls, "_ignore", attempt_failed)
        async with store_of(redis) as store:
            given = setting()
            await store.create(given, state(), asset())
            fence = (await store.claim(given.session_id, "a", replace=False)).fence

            async def chunks() -> None:
                for chunk in range(30):
                    await store.begin(given.session_id, fence, plan(chunk))
                    await store.commit(given.session_id, fence, state(chunk + 1))
                    if chunk == 5:
                        midway.set()

            writing = asyncio.create_task(chunks())
            await midway.wait()
            redis.kill()
            await missed.wait()
            assert not writing.done()
            await asyncio.to_thread(redis.start)
            await writing
            assert same((await store.load(given.session_id)).state, state(30))

    with redis_server(tmp_path) as redis:
        asyncio.run(body(redis))


def test_a_server_that_does_not_answer_costs_the_deadline_and_no_more(tmp_path: Path) -> None:
    """The calls end by it, which the time limit of the test sees."""

    async def body(redis: RedisServer) -> None:
        limits, counted = dataclasses.replace(LIMITS, attempt_s=0.2), errors("timeout")
        async with store_of(redis, limits) as store:
            given = setting()
            await store.create(given, state(), asset())
            redis.pause()
            with hurried(store, 1.0), pytest.raises(StoreError, match="not answer within 1 s"):
                await store.load(given.session_id)
            redis.go_on()
            assert same((await store.load(given.session_id)).state, state())
            redis.kill()
            with hurried(store, 1.0), pytest.raises(StoreError, match="not answer within 1 s"):
                await store.load(given.session_id)
            assert errors("timeout") == counted + 2

    with redis_server(tmp_path) as redis:
        asyncio.run(body(redis))


def test_calls_that_were_given_up_leave_the_connection_in_step(redis: RedisServer) -> None:
    """A cancelled call must not give its answer to the next one.

    It is cancelled at any moment: before it is written, and while the server, which is paused,
    still has to answer.
    """

    async def body() -> None:
        async with store_of(redis) as store:
            kept = [setting() for _ in range(4)]
            for given in kept:
                await store.create(given, state(), asset())
            for turn in range(40):
                redis.pause()
                try:
                    loads = [asyncio.create_task(store.load(g.session_id)) for g in kept]
                    for _ in range(turn % TURNS):
                        await asyncio.sleep(0)
                    loads[turn % 4].cancel()
                    await asyncio.wait({loads[turn % 4]})
                finally:
                    redis.go_on()
                found = await asyncio.gather(*loads, return_exceptions=True)
                assert [isinstance(each, BaseException) for each in found].count(True) == 1
                for given, answer in zip(kept, found, strict=True):
                    if not isinstance(answer, BaseException):
                        assert answer.setting == given

    asyncio.run(body())


def verdict(answer: object) -> object:
    return answer[0] if isinstance(answer, list) else answer


def test_an_answer_that_was_lost_does_not_make_a_step_happen_twice(redis: RedisServer) -> None:
    """Every script runs, its answer is thrown away, and the same call is sent again."""

    async def body() -> None:
        async with store_of(redis) as store:
            once = store._calls.script

            async def twice(name: str, keys: object, *arguments: object) -> object:
                first = await once(name, keys, *arguments)  # type: ignore[arg-type]
                second = await once(name, keys, *arguments)  # type: ignore[arg-type]
                # Times move on; what was decided does not.
                assert verdict(second) == verdict(first), name
                return second

            store._calls.script = twice  # type: ignore[method-assign]
            given = setting()
            _, new = await store.create(given, state(), asset())
            assert new
            claimed = await store.claim(given.session_id, "a", replace=False)
            assert claimed.fence == 1
            with pytest.raises(SessionBusy):
                await store.claim(given.session_id, "b", replace=False)
            await store.begin(given.session_id, 1, plan(0))
            await store.commit(given.session_id, 1, state(1))
            assert same((await store.load(given.session_id)).state, state(1))
            assert await store.delete(given.session_id)
            assert not await store.delete(given.session_id)

    asyncio.run(body())


def test_a_late_write_of_the_same_owner_undoes_nothing(redis: RedisServer) -> None:
    """A begin whose caller gave up arrives after the commit that followed it."""

    async def body() -> None:
        async with store_of(redis) as store:
            given = setting()
            await store.create(given, state(), asset())
            fence = (await store.claim(given.session_id, "a", replace=False)).fence
            sent: list[tuple[str, object, tuple[object, ...]]] = []
            once = store._calls.script

            async def recorded(name: str, keys: object, *arguments: object) -> object:
                sent.append((name, keys, arguments))
                return await once(name, keys, *arguments)  # type: ignore[arg-type]

            store._calls.script = recorded  # type: ignore[method-assign]
            await store.begin(given.session_id, fence, plan(0))
            await store.commit(given.session_id, fence, state(1))
            name, keys, arguments = sent[0]
            assert name == "begin"
            await once(name, keys, *arguments)  # type: ignore[arg-type]
            assert same((await store.load(given.session_id)).state, state(1))

    asyncio.run(body())


def test_a_commit_sends_what_is_new_and_no_more(redis: RedisServer) -> None:
    async def body() -> None:
        async with store_of(redis) as store, Redis.from_url(redis.url) as plain:
            given = setting()
            await store.create(given, state(), asset())
            fence = (await store.claim(given.session_id, "a", replace=False)).fence
            received = []
            for chunk in range(6):
                before = (await plain.info("stats"))["total_net_input_bytes"]
                await store.begin(given.session_id, fence, plan(chunk))
                await store.commit(given.session_id, fence, state(chunk + 1))
                received.append((await plain.info("stats"))["total_net_input_bytes"] - before)
            new = plan(0).pcm_S.nbytes + state(6).motion_z.nbytes
            new += state(6).history[-1].latents.nbytes
            assert max(received[1:]) < 1.1 * new
            whole = sum(record.latents.nbytes for record in state(6).history)
            whole += state(6).position.tail_S.nbytes
            assert max(received[1:]) < whole / 3
            # What nothing refers to any more is gone.
            fields: list[Any] = await plain.hkeys(
                f"{store._limits.prefix}:session:{given.session_id}"
            )
            arrays = [field for field in fields if field.startswith(b"a")]
            pieces = -(-len(state(6).position.tail_S) // 17_920) + 1
            assert len(arrays) <= 1 + 3 + pieces

    asyncio.run(body())


def test_scripts_and_arrays_that_the_server_forgot_are_sent_again(redis: RedisServer) -> None:
    async def body() -> None:
        async with store_of(redis) as store, Redis.from_url(redis.url) as plain:
            given = setting()
            await store.create(given, state(), asset())
            fence = (await store.claim(given.session_id, "a", replace=False)).fence
            await store.commit(given.session_id, fence, state(3))
            await plain.script_flush()
            key = f"{store._limits.prefix}:session:{given.session_id}"
            fields: list[Any] = await plain.hkeys(key)
            lost = [field for field in fields if field.startswith(b"a")]
            await plain.hdel(key, *lost)
            with pytest.raises(StoreError, match="array of a record is missing"):
                await store.load(given.session_id)
            await store.commit(given.session_id, fence, state(4))
            assert same((await store.load(given.session_id)).state, state(4))

    asyncio.run(body())


def test_nothing_stays_behind(redis: RedisServer) -> None:
    """Sessions deleted and sessions forgotten: a while later there is not one key of them."""

    async def body() -> None:
        async with store_of(redis) as store, Redis.from_url(redis.url) as plain:
            prefix = store._limits.prefix
            for number in range(12):
                given = setting(ttl_s=1_000.0, max_lifetime_s=2_000.0)
                await store.create(given, state(2), asset())
                await store.take_slot("w", 20, given.session_id, 1_000)
                if number % 2:
                    await store.delete(given.session_id)
            await redis.age(prefix, 1_000 + LIMITS.tombstone_s + LIMITS.asset_margin_s)
            # A new session sweeps two names of those that ended by themselves.
            for _ in range(12):
                final = setting()
                await store.create(final, state(), asset("e" * 64))
                await store.delete(final.session_id)
            await redis.age(prefix, 1.1 * LIMITS.tombstone_s)
            keys = [key.decode() async for key in plain.scan_iter(f"{prefix}:*")]
            left = [key for key in keys if ":request:" not in key and ":asset:" not in key]
            assert len(left) <= 1, left  # the index, which names but few
            assert await plain.zcard(f"{prefix}:sessions") <= 3
            assert all([await plain.pttl(key) > 0 for key in keys if key not in left])
        async with Redis.from_url(redis.url) as plain:

            async def the_stores_connections_are_gone() -> bool:
                return len(await plain.client_list()) <= 2

            await until_true(the_stores_connections_are_gone)

    asyncio.run(body())


def test_two_gateways_fight_over_a_session_and_one_has_it(redis: RedisServer) -> None:
    async def body() -> None:
        async with store_of(redis) as first:
            second = RedisStore(redis.url, first._limits)
            given = setting()
            await first.create(given, state(), asset())

            async def contend(store: RedisStore, name: str) -> int:
                won = 0
                for _ in range(10):
                    try:
                        won = (await store.claim(given.session_id, name, replace=False)).fence
                    except SessionBusy:
                        await asyncio.sleep(0)
                return won

            fences = await asyncio.gather(contend(first, "a"), contend(second, "b"))
            assert sorted(fences) == [0, 1]
            await second.close()

    asyncio.run(body())


@pytest.mark.parametrize("url", ["http://x", "redis", "postgres://user:secret@h/0"])
def test_another_kind_of_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InputError, match="store") as refused:
        open_store(url)
    assert "secret" not in str(refused.value)


def test_a_wrong_port_is_refused_without_the_password() -> None:
    with pytest.raises(InputError, match="store") as refused:
        open_store("redis://user:secret@host:notaport/0")
    assert "secret" not in str(refused.value)


def test_unreachable_servers_do_not_show_the_password() -> None:
    async def body() -> None:
        limits = StoreLimits(deadline_s=0.5, attempt_s=0.2)
        store = RedisStore("redis://user:secret@127.0.0.1:1/0", limits)
        with pytest.raises(StoreError) as refused:
            await store.load("x")
        assert "secret" not in str(refused.value)
        await store.close()

    asyncio.run(body())


def test_gone_sessions_are_gone_for_writers_too(redis: RedisServer) -> None:
    async def body() -> None:
        async with store_of(redis) as store:
            given = setting()
            await store.create(given, state(), asset())
            fence = (await store.claim(given.session_id, "a", replace=False)).fence
            await store.delete(given.session_id)
            with pytest.raises(SessionGone):
                await store.begin(given.session_id, fence, plan(0))

    asyncio.run(body())
