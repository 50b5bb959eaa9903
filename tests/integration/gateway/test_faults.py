"""Workers, connections and gateways go away in the middle: nobody's frames are lost or doubled.

Over real connections, at every stage of a chunk; ``tests/unit/gateway/test_live_faults.py`` looks
at every instant.
"""

import asyncio
from collections.abc import Sequence

import grpc
import numpy as np
import pytest

from flashtalk.serving.errors import Reason, reason_of
from flashtalk.v1 import stream_pb2
from tests.fakes.stand_in_workers import STAGES, StandIn
from tests.integration.gateway.suite import (
    SPEC,
    StandInServer,
    creation,
    finish,
    gateway,
    held_after,
    held_at,
    kept_port,
    memory_store,
    opened,
    run,
    send,
    small_suite,
    speech,
    undisturbed,
    watch,
    whole,
)
from tests.integration.gateway.watcher import Watcher
from tests.patience import until, until_true

CHUNK = SPEC.new_samples
VOICE = speech(5 * CHUNK + 3_000)


@pytest.fixture(scope="module")
def expected() -> list[bytes]:
    """The frames of a session that nothing happens to."""
    return undisturbed(VOICE)


@pytest.mark.parametrize("stage", STAGES)
def test_a_worker_dies_at_any_stage_and_another_goes_on(
    stage: str, expected: Sequence[bytes]
) -> None:
    async def scenario() -> None:
        async with small_suite(workers=2) as (running, servers):
            gate = held_at(servers, stage, 2)
            made = await running.stub.CreateSession(creation())
            call, _ = await opened(running.stub, made.session.session_id)
            await send(call, VOICE, 0)
            await finish(call)
            watching = asyncio.create_task(watch(call, Watcher()))
            await gate.reached.wait()
            victim = next(server for server in servers if server.workers is gate.who)
            await victim.kill()
            gate.open()
            seen = await watching
            assert seen.video == expected
            assert seen.chunks[2].retries > 0

            async def one_is_left_and_free() -> bool:
                return await running.pool.free_slots() == (1_000, 1_000)

            await until_true(one_is_left_and_free)

    run(scenario)


@pytest.mark.parametrize("stage", STAGES)
def test_the_only_worker_dies_and_comes_back(stage: str, expected: Sequence[bytes]) -> None:
    async def scenario() -> None:
        with kept_port() as port:
            worker = await StandInServer.start(StandIn(), port)
            async with gateway(worker.target, memory_store()) as running:
                gate = held_at([worker], stage, 1)
                made = await running.stub.CreateSession(creation())
                call, _ = await opened(running.stub, made.session.session_id)
                await send(call, VOICE, 0)
                await finish(call)
                watching = asyncio.create_task(watch(call, Watcher()))
                await gate.reached.wait()
                await worker.kill()
                await until(lambda: not running.pool.sizes_hw())  # nobody is ready
                worker = await worker.again()
                seen = await watching
                assert seen.video == expected
                assert sum(chunk.retries for chunk in seen.chunks) > 0
            await worker.kill()

    run(scenario)


def test_decoding_that_ends_half_way_is_done_again(expected: Sequence[bytes]) -> None:
    async def scenario() -> None:
        async with small_suite(StandIn(half_decodes=3)) as (running, _):
            seen = await whole(running.stub, creation(), VOICE)
            assert seen.video == expected
            assert sum(chunk.retries for chunk in seen.chunks) == 3

    run(scenario)


def test_no_worker_for_too_long_ends_the_stream_and_keeps_the_session(
    expected: Sequence[bytes],
) -> None:
    async def scenario() -> None:
        with kept_port() as port:
            worker = await StandInServer.start(StandIn(), port)
            store = memory_store()
            async with gateway(worker.target, store) as patient_one:
                gate = held_at([worker], "half", 1)
                made = await patient_one.stub.CreateSession(creation())
                name = made.session.session_id
                # A gateway that gives up at once; only it meets nobody.
                async with gateway(
                    worker.target, store, owner="two", chunk_timeout_s=0.5
                ) as running:
                    call, _ = await opened(running.stub, name)
                    await send(call, VOICE, 0)
                    await finish(call)
                    seen = await watch(call, Watcher(), lambda w: w.next_frame == 32)
                    await gate.reached.wait()
                    await worker.kill()
                    with pytest.raises(grpc.aio.AioRpcError) as lost:
                        await watch(call, seen)
                    assert lost.value.code() is grpc.StatusCode.UNAVAILABLE
                    assert reason_of(lost.value) is Reason.NO_WORKER
                worker = await worker.again()
                call, opening = await opened(patient_one.stub, name, resume=seen.next_frame)
                await send(call, VOICE[opening.input_samples :], opening.input_samples)
                await finish(call)
                await watch(call, seen)
                assert seen.video == expected
            await worker.kill()

    run(scenario)


@pytest.mark.parametrize("frame", [1, 27, 28, 29, 60, 90, 140])
def test_a_client_that_comes_back_gets_what_it_missed(
    frame: int, expected: Sequence[bytes]
) -> None:
    async def scenario() -> None:
        async with small_suite() as (running, servers):
            gate = held_after(servers, frame)
            made = await running.stub.CreateSession(creation())
            name = made.session.session_id
            call, _ = await opened(running.stub, name)
            await send(call, VOICE, 0)
            seen = await watch(call, Watcher(), lambda w: w.next_frame == frame)
            call.cancel()
            call, opening = await opened(running.stub, name, resume=frame)
            gate.open()
            assert opening.next_frame == frame
            await send(call, VOICE[opening.input_samples :], opening.input_samples)
            await finish(call)
            await watch(call, seen)
            assert seen.video == expected
            np.testing.assert_array_equal(seen.sound[: len(VOICE)], VOICE)

    run(scenario)


@pytest.mark.parametrize("frame", [0, 1, 30, 56, 83, 120])
def test_another_gateway_takes_the_session_over(frame: int, expected: Sequence[bytes]) -> None:
    async def scenario() -> None:
        worker = await StandInServer.start(StandIn())
        store = memory_store()
        try:
            async with gateway(worker.target, store, owner="one") as first:
                gate = held_after([worker], frame)
                made = await first.stub.CreateSession(creation())
                name = made.session.session_id
                call, _ = await opened(first.stub, name)
                await send(call, VOICE, 0)
                seen = await watch(call, Watcher(), lambda w: w.next_frame == frame)
                await first.kill()
                async with gateway(worker.target, store, owner="two") as second:
                    call, opening = await opened(second.stub, name, resume=frame)
                    gate.open()
                    await send(call, VOICE[opening.input_samples :], opening.input_samples)
                    await finish(call)
                    await watch(call, seen)
            assert seen.video == expected
        finally:
            await worker.kill()

    run(scenario)


def test_a_second_stream_is_refused_and_a_resumed_one_takes_over() -> None:
    async def scenario() -> None:
        async with small_suite() as (running, servers):
            gate = held_at(servers, "half", 0)
            made = await running.stub.CreateSession(creation())
            name = made.session.session_id
            call, _ = await opened(running.stub, name)
            await send(call, VOICE, 0)
            seen = await watch(call, Watcher(), lambda w: w.next_frame == 3)
            with pytest.raises(grpc.aio.AioRpcError) as busy:
                await opened(running.stub, name)
            assert reason_of(busy.value) is Reason.SESSION_BUSY
            other, opening = await opened(running.stub, name, resume=3)
            with pytest.raises(grpc.aio.AioRpcError) as replaced:
                await watch(call, Watcher(next_frame=3))
            assert replaced.value.code() is grpc.StatusCode.ABORTED
            assert reason_of(replaced.value) is Reason.SUPERSEDED
            gate.open()
            await send(other, VOICE[opening.input_samples :], opening.input_samples)
            await finish(other)
            await watch(other, seen)
            assert len(seen.video) == -(-len(VOICE) // 640)

    run(scenario)


def test_a_frame_that_is_no_longer_kept_cannot_be_had() -> None:
    async def scenario() -> None:
        async with small_suite() as (running, _):
            made = await running.stub.CreateSession(creation())
            name = made.session.session_id
            call, _ = await opened(running.stub, name)
            await send(call, speech(8 * CHUNK), 0)
            await watch(call, Watcher(), lambda w: len(w.chunks) == 8)
            call.cancel()
            await until(lambda: not running.host.open_streams)
            for frame in (27, 10_000):
                with pytest.raises(grpc.aio.AioRpcError) as gone:
                    await opened(running.stub, name, resume=frame)
                assert gone.value.code() is grpc.StatusCode.OUT_OF_RANGE
                assert reason_of(gone.value) is Reason.REPLAY_GONE

    run(scenario)


def test_a_gateway_that_drains_hands_its_streams_over(expected: Sequence[bytes]) -> None:
    async def scenario() -> None:
        worker = await StandInServer.start(StandIn())
        store = memory_store()
        try:
            async with gateway(worker.target, store, owner="one") as first:
                gate = held_at([worker], "half", 1)
                made = await first.stub.CreateSession(creation())
                name = made.session.session_id
                call, _ = await opened(first.stub, name)
                await send(call, VOICE, 0)
                seen = await watch(call, Watcher(), lambda w: w.next_frame == 32)
                draining = asyncio.create_task(first.host.drain())
                await watch(call, seen, lambda w: w.away)
                gate.open()
                await watch(call, seen)
                await draining
                assert seen.closed is not None
                assert seen.closed.reason == stream_pb2.StreamClosed.REASON_DRAINING
                assert seen.next_frame == 56, "the chunk that was begun is made, and none after it"
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await opened(first.stub, name, resume=seen.next_frame)
                assert reason_of(refused.value) is Reason.DRAINING
                async with gateway(worker.target, store, owner="two") as second:
                    call, opening = await opened(second.stub, name, resume=seen.next_frame)
                    await send(call, VOICE[opening.input_samples :], opening.input_samples)
                    await finish(call)
                    await watch(call, seen, lambda w: w.next_frame == len(expected))
            assert seen.video == expected
        finally:
            await worker.kill()

    run(scenario)


def test_an_expired_session_is_gone_and_its_place_is_free() -> None:
    async def scenario() -> None:
        clock = [1_000.0]
        worker = await StandInServer.start(StandIn(slots=1))
        store = memory_store(lambda: clock[0])
        try:
            async with gateway(worker.target, store) as running:
                request = creation()
                request.ttl.FromSeconds(5)
                made = await running.stub.CreateSession(request)
                clock[0] += 6
                with pytest.raises(grpc.aio.AioRpcError) as gone:
                    await opened(running.stub, made.session.session_id)
                assert reason_of(gone.value) is Reason.SESSION_GONE
                await running.stub.CreateSession(creation())
        finally:
            await worker.kill()

    run(scenario)
