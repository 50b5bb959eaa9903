"""Interruptions over real connections; ``test_live_interruptions.py`` has more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
import pytest

from flashtalk.serving.errors import Reason, reason_of
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2
from tests.fakes.stand_in_workers import StandIn
from tests.integration.gateway.suite import (
    SPEC,
    StandInServer,
    creation,
    finish,
    gateway,
    held_after,
    held_at,
    memory_store,
    opened,
    run,
    send,
    small_suite,
    speech,
    undisturbed,
    watch,
)
from tests.integration.gateway.watcher import Watcher
from tests.patience import until, until_true

CHUNK = SPEC.new_samples
VOICE = speech(5 * CHUNK + 3_000)


@pytest.fixture(scope="module")
def expected() -> list[bytes]:
    """The frames of a session that nothing happens to."""
    return undisturbed(VOICE)


async def talking(stub: Any, **fields: Any) -> tuple[Any, str, Watcher]:
    made = await stub.CreateSession(creation(**fields))
    call, _ = await opened(stub, made.session.session_id)
    return call, made.session.session_id, Watcher()


@pytest.mark.parametrize(
    ("pacing", "stop_at"),
    [
        (pb.PACING_UNLIMITED, 1),
        (pb.PACING_UNLIMITED, 30),
        (pb.PACING_UNLIMITED, 57),
        (pb.PACING_REAL_TIME, 1),
    ],
)
def test_an_interruption_is_a_barrier(pacing: int, stop_at: int) -> None:
    """All of them, and more, in real time: ``tests/unit/gateway/test_live_interruptions.py``."""

    async def scenario() -> None:
        async with small_suite() as (running, servers):
            held_after(servers, stop_at)  # what follows the interruption does not come to this
            call, _, seen = await talking(running.stub, pacing=pacing)
            position = await send(call, VOICE, 0)
            await watch(call, seen, lambda w: w.next_frame >= stop_at)
            interrupt = stream_pb2.Interrupt(interrupt_id="stop", played_frames=stop_at)
            await call.write(stream_pb2.StreamRequest(interrupt=interrupt))
            second = speech(CHUNK, 9)
            await send(call, second, position)
            await finish(call)
            await watch(call, seen)
            assert [i.interrupt_id for i in seen.interrupted] == ["stop"]
            outcome = seen.interrupted[0]
            assert outcome.played_frames == stop_at
            assert outcome.played_samples == stop_at * 640
            assert outcome.dropped_samples == len(VOICE) - stop_at * 640
            # What was heard, then the new utterance, and nothing else.
            heard = np.concatenate((VOICE[: stop_at * 640], second))
            np.testing.assert_array_equal(seen.sound[: len(heard)], heard)
            assert len(seen.video) == stop_at + 28

    run(scenario)


def test_an_interruption_before_anything_was_shown(expected: Sequence[bytes]) -> None:
    async def scenario() -> None:
        async with small_suite() as (running, servers):
            held_at(servers, "audio", 1)  # what follows the interruption does not come to this
            call, _, seen = await talking(running.stub)
            position = await send(call, VOICE, 0)
            interrupt = stream_pb2.Interrupt(interrupt_id="a", played_frames=0)
            await call.write(stream_pb2.StreamRequest(interrupt=interrupt))
            await send(call, VOICE[:CHUNK], position)
            await finish(call)
            await watch(call, seen)
            assert seen.interrupted[0].dropped_samples == len(VOICE)
            assert seen.video == expected[:28]

    run(scenario)


def test_an_interruption_from_elsewhere_is_answered_and_carried_out_once() -> None:
    async def scenario() -> None:
        worker = await StandInServer.start(StandIn())
        store = memory_store()
        try:
            async with (
                gateway(worker.target, store, owner="one") as first,
                gateway(worker.target, store, owner="two") as second,
            ):
                call, name, seen = await talking(first.stub, pacing=pb.PACING_REAL_TIME)
                await send(call, VOICE, 0)
                await watch(call, seen, lambda w: w.next_frame == 3)
                watching = asyncio.create_task(watch(call, seen, lambda w: bool(w.interrupted)))
                request = pb.InterruptSessionRequest(session_id=name, interrupt_id="from afar")
                answer = await second.stub.InterruptSession(request)
                await watching
                assert list(seen.interrupted) == [answer.interrupted]
                call.cancel()
                await until(lambda: not first.host.open_streams)

                async def released() -> bool:
                    return not (await store.load(name)).owner

                await until_true(released)
                assert await second.stub.InterruptSession(request) == answer
                request.interrupt_id = "another"
                with pytest.raises(grpc.aio.AioRpcError) as silent:
                    await second.stub.InterruptSession(request)
                assert reason_of(silent.value) is Reason.NO_STREAM
        finally:
            await worker.kill()

    run(scenario)
