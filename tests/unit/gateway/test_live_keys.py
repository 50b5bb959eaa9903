"""Keys and open streams, in virtual time: a key that is taken back ends what was opened with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.wire.status import Reason, reason_of, retry_after_s
from tests.fakes.api_keys import KeyFile, with_key
from tests.fakes.virtual_suite import in_virtual_time, virtual_suite
from tests.fakes.virtual_time import pass_time
from tests.integration.gateway.suite import creation, opened, watch
from tests.integration.gateway.watcher import Watcher

HEARTBEAT_S = 0.1
"""Of the gateways of tests."""


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    found = KeyFile(tmp_path / "keys.json")
    found.add("alice")
    found.add("bob")
    return found


def test_a_key_that_is_taken_back_ends_its_streams_within_a_heartbeat(file: KeyFile) -> None:
    async def scenario() -> None:
        async with virtual_suite(api_keys=file.path) as (running, _):
            calls = {}
            for name, key in file.keys.items():
                stub = with_key(running.stub, key)
                made = await stub.CreateSession(creation())
                calls[name], _ = await opened(stub, made.session.session_id)
            old = with_key(running.stub, file.keys["alice"])
            await pass_time(3.0)
            file.remove("alice")
            running.app.door.refresh()
            loop = asyncio.get_running_loop()
            begun_s = loop.time()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await old.ListSessions(pb.ListSessionsRequest())
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert loop.time() == begun_s, "new calls are refused at once"
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await watch(calls["alice"], Watcher())
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert reason_of(caught.value) is Reason.BAD_KEY
            assert loop.time() - begun_s <= HEARTBEAT_S + 1e-6
            await pass_time(10.0)
            assert not calls["bob"].done(), "bob's goes on"
            calls["bob"].cancel()

    in_virtual_time(scenario)


def test_sessions_of_a_key_live_no_longer_than_it_allows(file: KeyFile) -> None:
    file.add("carol", max_lifetime_s=100)

    async def scenario() -> None:
        async with virtual_suite(api_keys=file.path) as (running, _):
            stub = with_key(running.stub, file.keys["carol"])
            made = await stub.CreateSession(creation())
            assert made.session.limits.max_lifetime.ToSeconds() == 100
            call, _ = await opened(stub, made.session.session_id)
            watching = asyncio.create_task(watch(call, Watcher(), limit_s=1_000))
            await pass_time(99.0)
            assert not watching.done()
            await pass_time(2.0)
            watcher = await watching
            assert watcher.closed is not None
            assert watcher.closed.reason == watcher.closed.REASON_DELETED

    in_virtual_time(scenario)


def test_the_wait_that_is_asked_for_is_enough(file: KeyFile) -> None:
    file.add("carol", sessions_per_minute=2)

    async def scenario() -> None:
        async with virtual_suite(api_keys=file.path) as (running, _):
            stub = with_key(running.stub, file.keys["carol"])
            for _ in range(2):
                await stub.CreateSession(creation())
                await pass_time(7.0)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.CreateSession(creation())
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert reason_of(caught.value) is Reason.KEY_LIMIT
            wait_s = retry_after_s(caught.value) or 0.0
            assert wait_s == pytest.approx(46.0, abs=0.1)
            await pass_time(wait_s)
            await stub.CreateSession(creation())

    in_virtual_time(scenario)
