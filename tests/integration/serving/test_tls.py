"""TLS on a service's port: who is let in, who is not, and certificates that change meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from flashtalk.serving.certificates import Certificates
from flashtalk.serving.channel import ChannelTls, open_channel
from flashtalk.serving.port_file import read_port
from flashtalk.serving.server import serve
from flashtalk.serving.settings import ServiceSettings
from tests.fakes.certificates import Authority, Pair
from tests.patience import patient, until

NAME = "worker.flashtalk"
CALL_S = patient(30)


class Nothing:
    """A service without any call of its own."""

    async def start(self) -> None: ...

    async def drain(self, grace_s: float) -> None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True)
class World:
    """Two authorities that know nothing of each other, and what they signed."""

    ours: Authority
    theirs: Authority
    server: Pair
    client: Pair
    stranger: Pair


@pytest.fixture
def world(tmp_path: Path) -> World:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    return World(
        ours,
        theirs,
        ours.issue("server", f"DNS:{NAME}"),
        ours.issue("client", "DNS:gateway"),
        theirs.issue("stranger", f"DNS:{NAME}"),
    )


@contextlib.asynccontextmanager
async def served(folder: Path, pair: Pair, client_ca: Path | None = None) -> AsyncIterator[int]:
    """The port of a service with TLS."""
    port_file = folder / "port"
    settings = ServiceSettings(
        host="127.0.0.1",
        port_file=port_file,
        drain_s=1.0,
        tls_cert=pair.cert,
        tls_key=pair.key,
        tls_client_ca=client_ca,
    )

    def register(server: grpc.aio.Server) -> Sequence[str]:
        return []

    serving = asyncio.create_task(serve(settings, register, Nothing()))
    try:
        await until(lambda: serving.done() or read_port(port_file) is not None)
        assert not serving.done(), serving.exception()
        port = read_port(port_file)
        assert port is not None
        yield port
    finally:
        serving.cancel()
        await asyncio.wait({serving})


def tls(authority: Path | None, pair: Pair | None = None, name: str = NAME) -> ChannelTls:
    believed = authority.read_bytes() if authority is not None else None
    if pair is None:
        return ChannelTls(Certificates(authorities=believed), name)
    return ChannelTls(Certificates(pair.cert.read_bytes(), pair.key.read_bytes(), believed), name)


async def health(port: int, how: ChannelTls | None) -> int:
    """What the service says. Raises AioRpcError where it cannot be asked."""
    async with open_channel(f"127.0.0.1:{port}", tls=how) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=CALL_S)
        return int(answer.status)


async def refused(port: int, how: ChannelTls | None) -> bool:
    """Whether the connection is not made."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health(port, how)
    return caught.value.code() is grpc.StatusCode.UNAVAILABLE


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(patient(120)):
            await scenario()

    asyncio.run(bounded())


def test_a_server_with_tls_is_believed_by_its_authority_and_name(
    world: World, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(tmp_path, world.server) as port:
            assert await health(port, tls(world.ours.ca)) == 1
            assert await refused(port, tls(world.theirs.ca)), "another authority"
            assert await refused(port, tls(None)), "the public ones have not signed it"
            assert await refused(port, tls(world.ours.ca, name="another.name"))

    run(scenario)


def test_whoever_speaks_in_the_clear_gets_no_answer_from_a_port_with_tls(
    world: World, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(tmp_path, world.server) as port:
            assert await refused(port, None)

    run(scenario)


def test_a_channel_with_tls_does_not_speak_in_the_clear(world: World, tmp_path: Path) -> None:
    """To a port without TLS: an error, and no call."""

    async def scenario() -> None:
        server = grpc.aio.server()
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            assert await refused(port, tls(world.ours.ca))
        finally:
            await server.stop(0)

    run(scenario)


def test_with_a_client_authority_only_its_certificates_come_in(
    world: World, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(tmp_path, world.server, world.ours.ca) as port:
            assert await health(port, tls(world.ours.ca, world.client)) == 1
            assert await refused(port, tls(world.ours.ca)), "no certificate"
            assert await refused(port, tls(world.ours.ca, world.stranger)), "another authority's"

    run(scenario)


def test_certificates_are_rotated_while_the_server_runs(world: World, tmp_path: Path) -> None:
    """New connections see the new ones; one that is open goes on."""

    async def scenario() -> None:
        async with (
            served(tmp_path, world.server) as port,
            open_channel(f"127.0.0.1:{port}", tls=tls(world.ours.ca)) as kept,
        ):
            stub: Any = health_pb2_grpc.HealthStub(kept)
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=CALL_S)
            world.server.replace(world.stranger)
            assert await health(port, tls(world.theirs.ca)) == 1
            assert await refused(port, tls(world.ours.ca))
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=CALL_S)

    run(scenario)


def test_a_rotation_that_cannot_be_used_keeps_the_old_certificates(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with served(tmp_path, world.server) as port:
            world.server.key.write_bytes(world.stranger.key.read_bytes())
            for _ in range(3):
                assert await health(port, tls(world.ours.ca)) == 1
            told = [line for line in caplog.records if "certificates not reloaded" in line.message]
            assert len(told) == 1, "once, not at every handshake"
            world.server.replace(world.stranger)
            assert await health(port, tls(world.theirs.ca)) == 1

    run(scenario)


def probe(port: int, *words: str) -> tuple[int, str]:
    """Exit code and standard error of the health probe."""
    command = [sys.executable, "-m", "services.health", "--port", str(port), *words]
    command += ["--timeout-s", str(min(60.0, CALL_S))]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=patient(120), check=False
    )
    assert len(done.stderr.splitlines()) <= 1, done.stderr
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_the_health_probe_speaks_tls(world: World, tmp_path: Path) -> None:
    believed = ("--tls-ca", str(world.ours.ca), "--tls-name", NAME)
    shown = ("--tls-cert", str(world.client.cert), "--tls-key", str(world.client.key))

    async def scenario() -> None:
        async with served(tmp_path, world.server, world.ours.ca) as port:
            assert await asyncio.to_thread(probe, port, *believed, *shown) == (0, "")
            strange = ("--tls-ca", str(world.theirs.ca), "--tls-name", NAME, *shown)
            other = (*believed[:2], "--tls-name", "other", *shown)
            for words in ((), believed, strange, other):
                code, said = await asyncio.to_thread(probe, port, *words)
                assert code == 1
                assert f"127.0.0.1:{port}: UNAVAILABLE" in said

    run(scenario)
