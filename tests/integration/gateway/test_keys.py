"""API keys over real gRPC, on both stores: who comes in, whose session it is, what is too much."""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.wire.status import Reason, reason_of, retry_after_s
from services.gateway.store.limits import StoreLimits
from services.gateway.store.redis_store import RedisStore
from services.gateway.store.session_store import SessionStore
from tests.fakes.api_keys import KeyFile, with_key
from tests.fakes.real_redis import RedisServer
from tests.fakes.stand_in_workers import StandIn
from tests.integration.gateway.suite import (
    Gateway,
    StandInServer,
    creation,
    end,
    finish,
    gateway,
    memory_store,
    opened,
    run,
    send,
    speech,
    watch,
    whole,
)
from tests.integration.gateway.watcher import Watcher
from tests.patience import patient

Error = grpc.aio.AioRpcError


@dataclass
class Here:
    """Gateways that share a store and a file of keys."""

    gateways: list[Gateway]
    file: KeyFile

    def stub(self, name: str, number: int = 0) -> Any:
        """Of a holder of a key."""
        return with_key(self.gateways[number].stub, self.file.keys[name])


Start = Callable[..., contextlib.AbstractAsyncContextManager[Here]]


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    found = KeyFile(tmp_path / "keys.json")
    found.add("alice")
    found.add("bob")
    return found


@pytest.fixture(params=["memory", "redis"])
def start(request: pytest.FixtureRequest, file: KeyFile, redis: RedisServer) -> Start:
    """Starts gateways on a store of one kind; those without a file of keys ask for none."""

    @contextlib.asynccontextmanager
    async def started(*files: Path | None) -> AsyncIterator[Here]:
        prefix = f"test-{uuid.uuid4().hex[:8]}"
        limits = StoreLimits(
            deadline_s=patient(60),
            attempt_s=patient(20),
            prefix=prefix,
            owner_timeout_s=patient(60),
        )
        store: SessionStore = (
            memory_store() if request.param == "memory" else RedisStore(redis.url, limits)
        )
        worker = await StandInServer.start(StandIn())
        try:
            async with contextlib.AsyncExitStack() as stack:
                running = [
                    await stack.enter_async_context(
                        gateway(worker.target, store, owner=f"g{n}", api_keys=path)
                    )
                    for n, path in enumerate(files or (file.path,))
                ]
                yield Here(running, file)
        finally:
            await worker.kill()
            await store.close()

    return started


async def refused(call: Awaitable[Any]) -> Error:
    with pytest.raises(Error) as caught:
        await call
    return caught.value


async def answer(ask: Callable[[], Awaitable[Any]]) -> Error:
    """The server's refusal. A call that ends while its request is still being written fails in
    grpc.aio without what the server said; clients make such calls again (docs/protocol.md)."""
    error = await refused(ask())
    for _ in range(7):
        if reason_of(error) is not None:
            break
        error = await refused(ask())
    return error


def calls(stub: Any, session_id: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Every method of the service but the one that makes sessions."""
    return {
        "Get": lambda: stub.GetSession(pb.GetSessionRequest(session_id=session_id)),
        "Interrupt": lambda: stub.InterruptSession(
            pb.InterruptSessionRequest(session_id=session_id, interrupt_id="i")
        ),
        "Stream": lambda: opened(stub, session_id),
        "Take over": lambda: opened(stub, session_id, resume=0),
        "List": lambda: stub.ListSessions(pb.ListSessionsRequest()),
        "Delete": lambda: stub.DeleteSession(pb.DeleteSessionRequest(session_id=session_id)),
    }


def test_every_method_needs_a_key(start: Start) -> None:
    async def scenario() -> None:
        async with start() as here:
            plain = here.gateways[0].stub
            made = await here.stub("alice").CreateSession(creation())
            name = made.session.session_id
            for stub in (plain, with_key(plain, "wrong"), with_key(plain, "")):
                every = calls(stub, name)
                every["Create"] = functools.partial(stub.CreateSession, creation())
                for method, call in every.items():
                    error = await answer(call)
                    assert error.code() is grpc.StatusCode.UNAUTHENTICATED, method
                    assert reason_of(error) is Reason.BAD_KEY, method
            assert len((await here.gateways[0].store.page(10, "", "alice")).records) == 1

    run(scenario)


def test_with_its_key_a_session_runs_from_end_to_end(start: Start) -> None:
    async def scenario() -> None:
        async with start() as here:
            watcher = await whole(here.stub("alice"), creation(), speech(20_000))
            assert watcher.closed is not None
            assert watcher.next_frame == 32

    run(scenario)


def test_the_sessions_of_another_key_do_not_exist(start: Start) -> None:
    """Word for word as those that were never made, and nothing of them is disturbed."""

    async def scenario() -> None:
        async with start() as here:
            alice, bob = here.stub("alice"), here.stub("bob")
            request = creation()
            name = (await alice.CreateSession(request)).session.session_id
            call, _ = await opened(alice, name)
            never = calls(bob, "never-made")
            for method, ask in calls(bob, name).items():
                if method in ("List", "Delete"):
                    assert await ask() == await never[method]()
                    continue
                error, other = await answer(ask), await answer(never[method])
                assert error.code() is grpc.StatusCode.NOT_FOUND, method
                assert reason_of(error) is Reason.SESSION_GONE
                assert error.details() == (other.details() or "").replace("never-made", name)
            listed = await bob.ListSessions(pb.ListSessionsRequest())
            assert list(listed.sessions) == []
            # The same request of another key is another session, and no conflict.
            bobs = (await bob.CreateSession(request)).session.session_id
            assert bobs != name
            await send(call, speech(20_000), 0)
            await end(call)
            await finish(call)
            watcher = await watch(call, Watcher())
            assert watcher.next_frame == 32
            assert watcher.interrupted == []

    run(scenario)


def test_an_answer_to_an_interruption_is_not_told_to_another_key(start: Start) -> None:
    async def scenario() -> None:
        async with start() as here:
            alice, bob = here.stub("alice"), here.stub("bob")
            name = (await alice.CreateSession(creation())).session.session_id
            call, _ = await opened(alice, name)
            asked = pb.InterruptSessionRequest(session_id=name, interrupt_id="i")
            answer = await alice.InterruptSession(asked)
            error = await refused(bob.InterruptSession(asked))
            assert error.code() is grpc.StatusCode.NOT_FOUND
            assert await alice.InterruptSession(asked) == answer
            call.cancel()

    run(scenario)


def test_sessions_without_a_key_and_with_one_do_not_meet(start: Start, file: KeyFile) -> None:
    """A gateway that asks for no key knows those that were made without, and no other."""

    async def scenario() -> None:
        async with start(None, file.path) as here:
            anybody, alice = here.gateways[0].stub, here.stub("alice", 1)
            free = (await anybody.CreateSession(creation())).session.session_id
            held = (await alice.CreateSession(creation())).session.session_id
            assert (await anybody.GetSession(pb.GetSessionRequest(session_id=free))).session
            for stub, name in ((anybody, held), (alice, free)):
                error = await refused(stub.GetSession(pb.GetSessionRequest(session_id=name)))
                assert error.code() is grpc.StatusCode.NOT_FOUND

    run(scenario)


def test_gateways_share_the_limits_of_a_key(start: Start, file: KeyFile) -> None:
    file.add("alice", max_sessions=2)
    file.add("bob", sessions_per_minute=3)

    async def scenario() -> None:
        async with start(file.path, file.path) as here:
            names = []
            for number in (0, 1):
                made = await here.stub("alice", number).CreateSession(creation())
                names.append(made.session.session_id)
            error = await refused(here.stub("alice").CreateSession(creation()))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert reason_of(error) is Reason.KEY_LIMIT
            assert retry_after_s(error) == pytest.approx(2.0)
            await here.stub("alice", 1).DeleteSession(pb.DeleteSessionRequest(session_id=names[0]))
            await here.stub("alice").CreateSession(creation())
            for number in (0, 1, 0):
                made = await here.stub("bob", number).CreateSession(creation())
                name = made.session.session_id
                await here.stub("bob").DeleteSession(pb.DeleteSessionRequest(session_id=name))
            error = await refused(here.stub("bob", 1).CreateSession(creation()))
            assert reason_of(error) is Reason.KEY_LIMIT
            assert 0 < (retry_after_s(error) or 0) <= 61

    run(scenario)


def test_a_request_that_is_repeated_is_no_second_session_of_a_key(
    start: Start, file: KeyFile
) -> None:
    file.add("alice", max_sessions=1)

    async def scenario() -> None:
        async with start() as here:
            request = creation()
            first = await here.stub("alice").CreateSession(request)
            again = await here.stub("alice").CreateSession(request)
            assert again.session.session_id == first.session.session_id

    run(scenario)


def test_a_portrait_that_is_none_gives_its_place_back(start: Start, file: KeyFile) -> None:
    file.add("alice", max_sessions=1)

    async def scenario() -> None:
        async with start() as here:
            error = await refused(here.stub("alice").CreateSession(creation(portrait=b"none")))
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            await here.stub("alice").CreateSession(creation())

    run(scenario)
