"""What belongs to one API key is nobody else's, and is counted: in both stores."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

import pytest

from services.gateway.store.records import InterruptOutcome, InterruptRequest
from services.gateway.store.session_store import KeyFull, KeyLimits, SessionStore
from tests.integration.gateway.records import asset, setting, state
from tests.integration.gateway.test_store import Age, Test, TimedTest, run, run_timed

__all__ = ["run", "run_timed"]  # fixtures

LEASE_S = 500.0


async def full(store: SessionStore, name: str, limits: KeyLimits, key: str = "alice") -> KeyFull:
    with pytest.raises(KeyFull) as caught:
        await store.admit(key, name, limits, LEASE_S)
    assert key in str(caught.value)
    return caught.value


async def make(store: SessionStore, name: str, key: str = "alice", **changes: float) -> None:
    """A session that was admitted, from its beginning to its place in the store."""
    given = dataclasses.replace(setting(**changes), session_id=name, key_name=key)
    await store.create(given, state(), asset())
    await store.settle(key, name, begun=True)


def test_a_record_carries_the_name_of_its_key(run: Callable[[Test], None]) -> None:
    async def body(store: SessionStore) -> None:
        given = setting(key_name="alice")
        await store.create(given, state(), asset())
        assert (await store.load(given.session_id)).setting == given
        assert (await store.load(given.session_id, light=True)).setting.key_name == "alice"

    run(body)


def test_ids_of_requests_are_unknown_under_another_key(run: Callable[[Test], None]) -> None:
    async def body(store: SessionStore) -> None:
        alices = setting(key_name="alice")
        await store.create(alices, state(), asset())
        digest = alices.request_digest
        for other in ("", "bob"):
            assert await store.find_request(alices.request_id, digest, other) is None
        bobs = dataclasses.replace(alices, session_id="bobs", key_name="bob")
        _, new = await store.create(bobs, state(), asset())
        assert new
        found = await store.find_request(alices.request_id, digest, "alice")
        assert found is not None
        assert found.setting.session_id == alices.session_id
        await store.delete("bobs")
        assert await store.find_request(alices.request_id, digest, "bob") is None
        assert await store.find_request(alices.request_id, digest, "alice") is not None

    run(body)


def test_lists_hold_the_sessions_of_one_key(run: Callable[[Test], None]) -> None:
    async def body(store: SessionStore) -> None:
        for key in ("", "alice", "bob"):
            for number in range(3):
                name = f"{key}-{number}"
                given = dataclasses.replace(setting(key_name=key), session_id=name)
                await store.create(given, state(), asset())
        await store.delete("alice-1")
        for key, wanted in (("", 3), ("alice", 2), ("bob", 3), ("carol", 0)):
            found, token = list[str](), ""
            while True:
                page = await store.page(2, token, key)
                found += [record.setting.session_id for record in page.records]
                token = page.next_token
                if not token:
                    break
            assert len(found) == wanted
            assert all(name.startswith(f"{key}-") for name in found)

    run(body)


def test_outcomes_of_interruptions_are_unknown_under_another_key(
    run: Callable[[Test], None],
) -> None:
    async def body(store: SessionStore) -> None:
        given = setting(key_name="alice")
        name = given.session_id
        await store.create(given, state(), asset())
        await store.ask_interrupt(name, InterruptRequest("i", None), "alice")
        outcome = InterruptOutcome("i", 1, 640, 0, 1, 640, 0)
        await store.answer_interrupt(name, outcome, "alice")
        assert await store.interrupt_outcome(name, "i", "alice") == outcome
        for other in ("", "bob"):
            assert await store.interrupt_outcome(name, "i", other) is None

    run(body)


def test_a_key_has_so_many_open_sessions(run_timed: Callable[[TimedTest], None]) -> None:
    """Those that are being made count, those that ended do not, nor do another key's."""

    async def body(store: SessionStore, age: Age) -> None:
        limits = KeyLimits(max_sessions=2)
        await store.admit("alice", "one", limits, LEASE_S)
        await store.admit("alice", "one", limits, LEASE_S)  # its first answer was lost
        await make(store, "one", ttl_s=100.0)
        await store.admit("alice", "two", limits, LEASE_S)
        error = await full(store, "three", limits)
        assert (error.limit, error.retry_after_s) == ("max_sessions", 2.0)
        await store.admit("bob", "other", limits, LEASE_S)
        await make(store, "two", ttl_s=1_000.0)
        await full(store, "three", limits)
        await store.delete("two")
        await store.admit("alice", "three", limits, LEASE_S)
        await store.settle("alice", "three", begun=True)  # it failed
        await store.admit("alice", "four", limits, LEASE_S)
        await full(store, "five", limits)
        await age(150)  # "one" has expired
        await store.admit("alice", "five", limits, LEASE_S)
        await full(store, "six", limits)
        await age(LEASE_S + 1)  # whoever made "four" and "five" has died
        await store.admit("alice", "six", limits, LEASE_S)
        await store.admit("alice", "seven", limits, LEASE_S)
        await full(store, "eight", limits)

    run_timed(body)


def test_a_key_begins_so_many_sessions_in_any_minute(
    run_timed: Callable[[TimedTest], None],
) -> None:
    async def body(store: SessionStore, age: Age) -> None:
        limits = KeyLimits(per_minute=2)
        await store.admit("alice", "one", limits, LEASE_S)
        await age(20)
        await store.admit("alice", "two", limits, LEASE_S)
        error = await full(store, "three", limits)
        assert error.limit == "sessions_per_minute"
        assert 30 < error.retry_after_s < 40.1, "until the first is a minute old"
        await store.settle("alice", "two", begun=False)  # there was no slot: it does not count
        await store.admit("alice", "three", limits, LEASE_S)
        await full(store, "four", limits)
        await store.admit("bob", "other", limits, LEASE_S)
        await age(41)
        await store.admit("alice", "four", limits, LEASE_S)
        await full(store, "five", limits)

    run_timed(body)


def test_of_many_at_once_no_more_than_the_limit_come_in(run: Callable[[Test], None]) -> None:
    async def body(store: SessionStore) -> None:
        for limits in (KeyLimits(max_sessions=3), KeyLimits(per_minute=3)):
            key = f"key-{limits.max_sessions}"
            asked = (store.admit(key, f"{key}-{n}", limits, LEASE_S) for n in range(20))
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert sum(answer is None for answer in answers) == 3
            assert all(answer is None or isinstance(answer, KeyFull) for answer in answers)

    run(body)
