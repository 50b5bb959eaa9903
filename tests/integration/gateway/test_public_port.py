"""The gateway as its process serves it: TLS, keys, reflection, health, warnings, and its logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from flashtalk.client import ClientError, FlashTalkClient, tls_credentials
from flashtalk.serving.channel import open_channel
from flashtalk.serving.logs import JsonFormatter
from flashtalk.serving.port_file import read_port
from flashtalk.serving.server import serve
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import session_service_pb2_grpc as pb_grpc
from flashtalk.wire.status import Reason, reason_of
from services.gateway.app import GatewayApp
from services.gateway.settings import GatewaySettings
from tests.fakes.api_keys import KeyFile, shown, with_key
from tests.fakes.certificates import Authority, Pair
from tests.fakes.stand_in_workers import StandIn
from tests.integration.gateway.suite import StandInServer, portrait
from tests.patience import patient, until, until_true

LIMIT_S = 120.0


@dataclass
class Port:
    """The public port of a gateway with stand-in workers."""

    number: int

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.number}"


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    found = KeyFile(tmp_path / "keys.json")
    found.add("alice")
    return found


@contextlib.asynccontextmanager
async def public(folder: Path, **settings: Any) -> AsyncIterator[Port]:
    worker = await StandInServer.start(StandIn())
    targets = dict.fromkeys(("audio_encoders", "dit_workers", "vae_decoders"), worker.target)
    known: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "metrics_port": 0,
        "drain_s": 1.0,
        "heartbeat_s": 0.1,
    }
    given = GatewaySettings(**known | targets | {"port_file": folder / "port"} | settings)
    app = GatewayApp(given)
    serving = asyncio.create_task(serve(given, app.register, app, app.interceptors))
    try:
        await until(lambda: serving.done() or read_port(folder / "port") is not None)
        assert not serving.done(), serving.exception()
        yield Port(read_port(folder / "port") or 0)
    finally:
        serving.cancel()
        await asyncio.wait({serving})
        await worker.kill()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(patient(LIMIT_S)):
            await scenario()

    asyncio.run(bounded())


async def reflected(channel: grpc.aio.Channel, metadata: Any = ()) -> list[str]:
    """Names of services that reflection tells."""
    untyped: Any = channel
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(untyped)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    async for answer in stub.ServerReflectionInfo(iter([asked]), metadata=metadata):
        return [service.name for service in answer.list_services_response.service]
    raise AssertionError("no answer")


def test_health_is_open_and_reflection_needs_a_key(file: KeyFile, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            public(tmp_path, api_keys=file.path) as port,
            open_channel(port.target) as channel,
        ):
            health: Any = health_pb2_grpc.HealthStub(channel)
            check = health.Check
            for metadata in ((), shown("wrong")):
                answer = await check(health_pb2.HealthCheckRequest(), metadata=metadata)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await reflected(channel, metadata)
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
                assert reason_of(caught.value) is Reason.BAD_KEY
            names = await reflected(channel, shown(file.keys["alice"]))
            assert "flashtalk.v1.SessionService" in names

    run(scenario)


def test_tls_and_a_key_let_the_python_client_in(file: KeyFile, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    pair = authority.issue("public", "DNS:localhost,IP:127.0.0.1")
    settings = {"api_keys": file.path, "tls_cert": pair.cert, "tls_key": pair.key}

    async def scenario() -> None:
        async with public(tmp_path, **settings) as port:
            trusted = tls_credentials(authority.ca)
            patience: dict[str, Any] = {"patience_s": patient(30)}
            async with FlashTalkClient(
                port.target, credentials=trusted, api_key=file.keys["alice"], **patience
            ) as client:
                session = await client.create_session(portrait(), wait_for_slot=True)
                listed = [found.session_id async for found in client.sessions()]
                assert listed == [session.session_id]
            for key in ("", "wrong"):
                async with FlashTalkClient(
                    port.target, credentials=trusted, api_key=key, **patience
                ) as client:
                    with pytest.raises(ClientError) as caught:
                        await client.get_session(session)
                    assert caught.value.reason is Reason.BAD_KEY
            async with FlashTalkClient(port.target, patience_s=0.1) as client:
                with pytest.raises(ClientError) as caught:
                    await client.get_session(session)
                assert caught.value.code is grpc.StatusCode.UNAVAILABLE, "in the clear"

    run(scenario)


def test_a_client_that_waits_for_a_slot_waits_for_its_key_too(
    file: KeyFile, tmp_path: Path
) -> None:
    file.add("alice", max_sessions=1)

    async def scenario() -> None:
        async with (
            public(tmp_path, api_keys=file.path) as port,
            FlashTalkClient(
                port.target, api_key=file.keys["alice"], patience_s=patient(60)
            ) as client,
        ):
            first = await client.create_session(portrait(), wait_for_slot=True)
            with pytest.raises(ClientError) as caught:
                await client.create_session(portrait())
            assert caught.value.reason is Reason.KEY_LIMIT
            assert caught.value.retry_after_s == pytest.approx(2.0)
            waiting = asyncio.create_task(client.create_session(portrait(), wait_for_slot=True))
            await client.delete_session(first)
            assert (await waiting).session_id != first.session_id

    run(scenario)


def test_a_running_gateway_takes_in_a_changed_file(file: KeyFile, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            public(tmp_path, api_keys=file.path) as port,
            open_channel(port.target) as channel,
        ):
            plain = pb_stub(channel)

            async def comes_in(key: str) -> bool:
                call = with_key(plain, key).ListSessions(pb.ListSessionsRequest())
                code = await call.code()
                assert code in (grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED)
                return code is grpc.StatusCode.OK

            old = file.keys["alice"]
            assert await comes_in(old)
            new = file.add("alice")
            await until_true(lambda: comes_in(new))
            assert not await comes_in(old)

    run(scenario)


def pb_stub(channel: grpc.aio.Channel) -> Any:
    return pb_grpc.SessionServiceStub(channel)


@pytest.mark.parametrize(
    ("host", "keys", "tls", "warned"),
    [
        ("0.0.0.0", False, False, "no API keys: "),
        ("0.0.0.0", True, False, "without TLS"),
        ("0.0.0.0", True, True, ""),
        ("127.0.0.1", False, False, ""),
    ],
)
def test_a_gateway_that_everybody_can_reach_says_what_is_open(
    host: str,
    keys: bool,
    tls: bool,
    warned: str,
    file: KeyFile,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings: dict[str, Any] = {"api_keys": file.path} if keys else {}
    if tls:
        pair: Pair = Authority(tmp_path / "ca").issue("public", "IP:127.0.0.1")
        settings |= {"tls_cert": pair.cert, "tls_key": pair.key}

    async def scenario() -> None:
        async with public(tmp_path, host=host, **settings):
            pass

    run(scenario)
    lines = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert [warned in line for line in lines] == [True] * bool(warned)


def test_no_key_and_no_digest_is_in_any_log_or_error(
    file: KeyFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a run with good keys, bad ones, full ones, broken files, at the finest level of logs."""
    caplog.set_level(logging.DEBUG)
    file.add("alice", max_sessions=1)
    wrong, said = "ftk_never-a-key-of-anybody-0123456789", list[str]()

    async def scenario() -> None:
        async with (
            public(tmp_path, api_keys=file.path, log_level="DEBUG") as port,
            open_channel(port.target) as channel,
        ):
            for key in (file.keys["alice"], wrong, f"{wrong} {wrong}"):
                stub = with_key(pb_stub(channel), key)
                said.append(repr(stub))
                for method, request in (
                    (stub.ListSessions, pb.ListSessionsRequest()),
                    (stub.CreateSession, pb.CreateSessionRequest(request_id="?")),
                    (stub.GetSession, pb.GetSessionRequest(session_id="none")),
                ):
                    try:
                        await method(request)
                    except grpc.aio.AioRpcError as error:
                        said.append(f"{error!r} {error.trailing_metadata()}")
            file.path.write_text(json.dumps([{"name": "alice", "sha256": file.keys["alice"]}]))
            await until(lambda: "API keys not reloaded" in caplog.text)

    run(scenario)
    formatter = JsonFormatter("gateway")
    said += [formatter.format(record) for record in caplog.records]
    secrets = [file.keys["alice"], wrong, *file.digests()]
    for text in said:
        for secret in secrets:
            assert secret[4:24] not in text
