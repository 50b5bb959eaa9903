"""Workers with other weights beside each other, as during an update of a deployment."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from tests.fakes.stand_in_workers import StandIn
from tests.integration.gateway.suite import (
    SPEC,
    Gateway,
    StandInServer,
    creation,
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
from tests.patience import until

OLD, NEW = StandIn(weights_digest="a" * 64), StandIn(weights_digest="b" * 64)


@contextlib.asynccontextmanager
async def mixed(
    *stand_ins: StandIn, **settings: Any
) -> AsyncIterator[tuple[Gateway, list[StandInServer]]]:
    servers = [await StandInServer.start(stand_in) for stand_in in stand_ins]
    store = memory_store()
    try:
        targets = ",".join(server.target for server in servers)
        async with gateway(targets, store, **settings) as running:
            yield running, servers
    finally:
        for server in servers:
            await server.kill()
        await store.close()


def test_a_session_stays_on_one_kind_of_weights() -> None:
    """Also its speech features and its frames, whose workers are chosen in turn."""

    async def scenario() -> None:
        async with mixed(OLD, NEW, OLD, NEW) as (running, servers):
            await until(lambda: len(running.pool.sizes_hw()) > 0)
            for seed in range(3):
                request = creation(seed=seed)
                await whole(running.stub, request, speech(3 * SPEC.new_samples, seed))
            used = {s.workers.stand_in.weights_digest for s in servers if s.workers.calls}
            assert len(used) == 1

    run(scenario)


def test_a_session_does_not_go_on_with_other_weights() -> None:
    """Its conditioning would mean something else there: it waits, and says so."""

    async def scenario() -> None:
        async with mixed(OLD, chunk_timeout_s=1.0) as (running, (old,)):
            made = await running.stub.CreateSession(creation())
            call, _ = await opened(running.stub, made.session.session_id)
            await send(call, speech(SPEC.new_samples), 0)
            seen = await watch(call, Watcher(), lambda w: len(w.chunks) == 1)
            await old.kill()
            new = await StandInServer.start(NEW, old.port)
            try:
                await until(lambda: running.pool.weights_digest == "b" * 64)
                await send(call, speech(SPEC.new_samples, 1), SPEC.new_samples)
                await finish(call)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await watch(call, seen)
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
                assert not new.workers.calls["denoise"]
                again = await running.stub.CreateSession(creation())
                assert again.session.session_id, "new sessions use the new weights"
            finally:
                await new.kill()

    run(scenario)
