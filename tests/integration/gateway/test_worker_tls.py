"""Channels to workers with mTLS: who is believed, and certificates that change while calls run."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from flashtalk.errors import InputError
from flashtalk.serving.certificates import CertificateFiles, server_credentials
from flashtalk.serving.channel import ChannelLimits
from services.gateway.workers.channels import WorkerChannels
from services.gateway.workers.pool import WorkerPool, WorkerTargets
from services.gateway.workers.worker import Role
from tests.fakes.certificates import Authority, Pair
from tests.fakes.stand_in_workers import StandIn, add_workers
from tests.integration.gateway.suite import memory_store, pool_limits
from tests.patience import patient, until

NAME = "workers.flashtalk"
NAMES = ("workers_cert", "workers_key", "workers_ca")


@dataclass(frozen=True)
class World:
    """An authority with a worker and a gateway, and one that nobody here believes."""

    ours: Authority
    theirs: Authority
    worker: Pair
    gateway: Pair


@pytest.fixture
def world(tmp_path: Path) -> World:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    return World(ours, theirs, ours.issue("worker", f"DNS:{NAME}"), ours.issue("gw", "DNS:gw"))


@contextlib.asynccontextmanager
async def worker(world: World) -> AsyncIterator[str]:
    """HOST:PORT of stand-ins that ask for a certificate."""
    names = ("tls_cert", "tls_key", "tls_client_ca")
    files = CertificateFiles(world.worker.cert, world.worker.key, world.ours.ca, names)
    credentials = server_credentials(files)
    assert credentials is not None
    server = grpc.aio.server(options=ChannelLimits().server_options())
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await add_workers(server, StandIn(), f"stand-in:{uuid.uuid4().hex[:6]}")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


def channels(world: World, pair: Pair | None = None, name: str = NAME) -> WorkerChannels:
    shown = pair or world.gateway
    return WorkerChannels(CertificateFiles(shown.cert, shown.key, world.ours.ca, NAMES), name)


def pool_of(target: str, how: WorkerChannels) -> WorkerPool:
    return WorkerPool(
        WorkerTargets(target, target, target),
        memory_store(),
        pool_limits(worker_linger_s=0.2),
        connect=how.open,
        outdated=how.outdated,
    )


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(patient(120)):
            await scenario()

    asyncio.run(bounded())


def test_both_ends_show_certificates_and_find_each_other(world: World) -> None:
    async def scenario() -> None:
        async with worker(world) as target, pool_of(target, channels(world)) as pool:
            for role in Role:
                found = await pool.choose(role, timeout_s=patient(30))
                assert found.worker_id

    run(scenario)


def test_a_worker_of_another_name_or_for_a_stranger_is_never_ready(world: World) -> None:
    stranger = world.theirs.issue("stranger", "DNS:gw")

    async def scenario() -> None:
        async with worker(world) as target:
            for how in (
                channels(world, name="another.name"),
                channels(world, stranger),
                WorkerChannels(CertificateFiles(None, None, world.ours.ca, NAMES), NAME),
                WorkerChannels(CertificateFiles(None, None, None, NAMES), ""),
            ):
                async with pool_of(target, how) as pool:
                    assert pool.sizes_hw() == [], "one look was made"

    run(scenario)


def test_new_connections_use_the_new_certificates(world: World) -> None:
    """Both ends move to another authority; the gateway's channels follow by themselves."""
    believed = world.ours.ca.parent / "believed.pem"
    believed.write_bytes(world.ours.ca.read_bytes())
    files = CertificateFiles(world.gateway.cert, world.gateway.key, believed, NAMES)
    how = WorkerChannels(files, NAME)

    async def scenario() -> None:
        async with worker(world) as target, pool_of(target, how) as pool:
            before = await pool.choose(Role.DIT_WORKER, timeout_s=patient(30))
            old_channel, failures = before.channel, before.failures
            believed.write_bytes(world.ours.ca.read_bytes() + world.theirs.ca.read_bytes())
            await until(lambda: before.channel is not old_channel)
            second = before.channel
            world.worker.replace(world.theirs.issue("worker2", f"DNS:{NAME}"))
            # Another change, so that the gateway connects to what the worker shows now.
            believed.write_bytes(world.theirs.ca.read_bytes())
            await until(lambda: before.channel is not second)
            await until(lambda: before.ready)
            found = await pool.choose(Role.DIT_WORKER, timeout_s=patient(30))
            assert found is before, "the same worker, with its slots"
            assert found.failures == failures

            def closed() -> bool:
                state = old_channel.get_state()
                return state is grpc.ChannelConnectivity.SHUTDOWN

            await until(closed)

    run(scenario)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"authorities": None}, "workers_ca"),
        ({"authorities": None, "certificate": None, "key": None}, "workers_ca"),
        ({"key": None}, "workers_key"),
        ({"certificate": None}, "workers_cert"),
    ],
)
def test_settings_that_would_be_without_effect_are_refused(
    world: World, given: dict[str, Path | None], named: str
) -> None:
    """Where certificates are set nothing is sent in the clear, not even by mistake."""
    full = {
        "certificate": world.gateway.cert,
        "key": world.gateway.key,
        "authorities": world.ours.ca,
    } | given
    with pytest.raises(InputError) as caught:
        WorkerChannels(CertificateFiles(**full, names=NAMES), NAME)
    assert caught.value.field == named
