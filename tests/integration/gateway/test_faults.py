"""Workers, connections and gateways go away in the middle: nobody's frames are lost or doubled."""

import asyncio
from typing import Any

import grpc
import numpy as np
import pytest

from flashtalk.serving.errors import Reason, reason_of
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2
from services.gateway.store.memory import MemoryStore
from tests.fakes.stand_in_workers import StandIn
from tests.integration.gateway.suite import (
    SPEC,
    StandInServer,
    Watcher,
    creation,
    finish,
    gateway,
    opened,
    run,
    send,
    small_suite,
    speech,
    watch,
    whole,
)

CHUNK = SPEC.new_samples
SLOW = StandIn(audio_s=0.02, denoise_s=0.08, decode_s=0.08, motion_s=0.02)
SPEAKING = stream_pb2.Activity.KIND_SPEAKING
VOICE = speech(5 * CHUNK + 3_000)


async def undisturbed(stand_in: StandIn = SLOW) -> list[bytes]:
    async with small_suite(stand_in) as (running, _):
        return (await whole(running.stub, creation(), VOICE)).video


@pytest.mark.parametrize("wait_s", [0.0, 0.05, 0.1, 0.15, 0.19])
def test_a_worker_dies_at_any_moment_and_another_goes_on(wait_s: float) -> None:
    async def scenario() -> None:
        expected = await undisturbed()
        async with small_suite(SLOW, workers=2) as (running, servers):
            made = await running.stub.CreateSession(creation())
            call, _ = await opened(running.stub, made.session.session_id)
            await send(call, VOICE, 0)
            await finish(call)
            seen = await watch(call, Watcher(), lambda w: len(w.chunks) == 2)
            await asyncio.sleep(wait_s)
            await servers[0].kill()
            await watch(call, seen)
            assert seen.video == expected
            assert await running.pool.free_slots() == (1_000, 1_000)

    run(scenario)


def test_the_only_worker_dies_and_comes_back() -> None:
    async def scenario() -> None:
        expected = await undisturbed()
        async with small_suite(SLOW) as (running, servers):
            made = await running.stub.CreateSession(creation())
            call, _ = await opened(running.stub, made.session.session_id)
            await send(call, VOICE, 0)
            await finish(call)
            seen = await watch(call, Watcher(), lambda w: w.next_frame == 40)
            await servers[0].kill()
            await asyncio.sleep(0.5)
            servers[0] = await StandInServer.start(SLOW, servers[0].port)
            await watch(call, seen)
            assert seen.video == expected
            assert sum(chunk.retries for chunk in seen.chunks) > 0

    run(scenario)


def test_decoding_that_ends_half_way_is_done_again() -> None:
    async def scenario() -> None:
        expected = await undisturbed(StandIn())
        async with small_suite(StandIn(half_decodes=3)) as (running, _):
            seen = await whole(running.stub, creation(), VOICE)
            assert seen.video == expected
            assert sum(chunk.retries for chunk in seen.chunks) == 3

    run(scenario)


def test_no_worker_for_too_long_ends_the_stream_and_keeps_the_session() -> None:
    async def scenario() -> None:
        expected = await undisturbed()
        async with small_suite(SLOW) as (running, servers):
            made = await running.stub.CreateSession(creation())
            name = made.session.session_id
            call, _ = await opened(running.stub, name)
            await send(call, VOICE, 0)
            await finish(call)
            seen = await watch(call, Watcher(), lambda w: w.next_frame == 40)
            await servers[0].kill()
            with pytest.raises(grpc.aio.AioRpcError) as lost:
                await watch(call, seen)
            assert lost.value.code() is grpc.StatusCode.UNAVAILABLE
            assert reason_of(lost.value) is Reason.NO_WORKER
            servers[0] = await StandInServer.start(SLOW, servers[0].port)
            call, opening = await opened(running.stub, name, resume=seen.next_frame)
            await send(call, VOICE[opening.input_samples :], opening.input_samples)
            await finish(call)
            await watch(call, seen)
            assert seen.video == expected

    run(scenario)


@pytest.mark.parametrize("frame", [1, 27, 28, 29, 60, 90, 140])
def test_a_client_that_comes_back_gets_what_it_missed(frame: int) -> None:
    async def scenario() -> None:
        expected = await undisturbed()
        async with small_suite(SLOW) as (running, _):
            made = await running.stub.CreateSession(creation())
            name = made.session.session_id
            call, _ = await opened(running.stub, name)
            await send(call, VOICE, 0)
            seen = await watch(call, Watcher(), lambda w: w.next_frame == frame)
            call.cancel()
            call, opening = await opened(running.stub, name, resume=frame)
            assert opening.next_frame == frame
            await send(call, VOICE[opening.input_samples :], opening.input_samples)
            await finish(call)
            await watch(call, seen)
            assert seen.video == expected
            np.testing.assert_array_equal(seen.sound[: len(VOICE)], VOICE)

    run(scenario)


@pytest.mark.parametrize("frame", [0, 1, 30, 56, 83, 120])
def test_another_gateway_takes_the_session_over(frame: int) -> None:
    async def scenario() -> None:
        expected = await undisturbed()
        worker = await StandInServer.start(SLOW)
        store = MemoryStore()
        try:
            async with gateway(worker.target, store, owner="one") as first:
                made = await first.stub.CreateSession(creation())
                name = made.session.session_id
                call, _ = await opened(first.stub, name)
                await send(call, VOICE, 0)
                seen = await watch(call, Watcher(), lambda w: w.next_frame == frame)
                await first.kill()
                async with gateway(worker.target, store, owner="two") as second:
                    call, opening = await opened(second.stub, name, resume=frame)
                    await send(call, VOICE[opening.input_samples :], opening.input_samples)
                    await finish(call)
                    await watch(call, seen)
            assert seen.video == expected
        finally:
            await worker.kill()

    run(scenario)


def test_a_second_stream_is_refused_and_a_resumed_one_takes_over() -> None:
    async def scenario() -> None:
        async with small_suite(SLOW) as (running, _):
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
            await asyncio.sleep(0.1)
            for frame in (27, 10_000):
                with pytest.raises(grpc.aio.AioRpcError) as gone:
                    await opened(running.stub, name, resume=frame)
                assert gone.value.code() is grpc.StatusCode.OUT_OF_RANGE
                assert reason_of(gone.value) is Reason.REPLAY_GONE

    run(scenario)


def test_a_gateway_that_drains_hands_its_streams_over() -> None:
    async def scenario() -> None:
        expected = await undisturbed()
        worker = await StandInServer.start(SLOW)
        store = MemoryStore()
        try:
            async with gateway(worker.target, store, owner="one") as first:
                made = await first.stub.CreateSession(creation())
                name = made.session.session_id
                call, _ = await opened(first.stub, name)
                await send(call, VOICE, 0)
                seen = await watch(call, Watcher(), lambda w: w.next_frame == 35)
                draining = asyncio.create_task(first.host.drain())
                await watch(call, seen)
                async with asyncio.timeout(5):
                    await draining
                assert seen.away
                assert seen.closed is not None
                assert seen.closed.reason == stream_pb2.StreamClosed.REASON_DRAINING
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
        store = MemoryStore(now_s=lambda: clock[0])
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


async def talking(stub: Any, **fields: Any) -> tuple[Any, str, Watcher]:
    made = await stub.CreateSession(creation(**fields))
    call, _ = await opened(stub, made.session.session_id)
    return call, made.session.session_id, Watcher()


@pytest.mark.parametrize("pacing", [pb.PACING_UNLIMITED, pb.PACING_REAL_TIME])
@pytest.mark.parametrize("stop_at", [1, 30, 57])
def test_an_interruption_is_a_barrier(pacing: int, stop_at: int) -> None:
    async def scenario() -> None:
        async with small_suite(SLOW) as (running, _):
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


@pytest.mark.parametrize("after", [1, 27])
def test_what_was_heard_of_a_beginning_after_silence(after: int) -> None:
    """The beginning of an utterance stands at a chunk's end: before it nothing was heard."""

    async def scenario() -> None:
        request = {"idle_policy": pb.IDLE_POLICY_MODEL, "pacing": pb.PACING_REAL_TIME}
        async with small_suite() as (running, _):
            call, _, seen = await talking(running.stub, **request)
            begun = VOICE[:12_345]
            await send(call, begun, 0)
            await watch(call, seen, lambda w: w.activity == SPEAKING)
            played = seen.activities[-1][1] + after
            await watch(call, seen, lambda w: w.next_frame >= played)
            heard = np.count_nonzero(seen.sound[: played * 640])
            interrupt = stream_pb2.Interrupt(interrupt_id="stop", played_frames=played)
            await call.write(stream_pb2.StreamRequest(interrupt=interrupt))
            await watch(call, seen, lambda w: bool(w.interrupted))
            assert seen.interrupted[0].dropped_samples == len(begun) - heard
            call.cancel()

    run(scenario)


def test_an_interruption_before_anything_was_shown() -> None:
    async def scenario() -> None:
        async with small_suite(SLOW) as (running, _):
            call, _, seen = await talking(running.stub)
            position = await send(call, VOICE, 0)
            interrupt = stream_pb2.Interrupt(interrupt_id="a", played_frames=0)
            await call.write(stream_pb2.StreamRequest(interrupt=interrupt))
            await send(call, VOICE[:CHUNK], position)
            await finish(call)
            await watch(call, seen)
            assert seen.interrupted[0].dropped_samples == len(VOICE)
            assert seen.video == (await undisturbed())[:28]

    run(scenario)


def test_an_interruption_from_elsewhere_is_answered_and_carried_out_once() -> None:
    async def scenario() -> None:
        worker = await StandInServer.start(SLOW)
        store = MemoryStore()
        try:
            async with (
                gateway(worker.target, store, owner="one") as first,
                gateway(worker.target, store, owner="two") as second,
            ):
                call, name, seen = await talking(first.stub, pacing=pb.PACING_REAL_TIME)
                await send(call, VOICE, 0)
                watching = asyncio.create_task(watch(call, seen, lambda w: bool(w.interrupted)))
                await asyncio.sleep(0.6)
                request = pb.InterruptSessionRequest(session_id=name, interrupt_id="from afar")
                answer = await second.stub.InterruptSession(request, timeout=10)
                await watching
                assert list(seen.interrupted) == [answer.interrupted]
                call.cancel()
                await asyncio.sleep(0.1)
                with pytest.raises(grpc.aio.AioRpcError) as silent:
                    await second.stub.InterruptSession(request, timeout=10)
                assert reason_of(silent.value) is Reason.NO_STREAM
        finally:
            await worker.kill()

    run(scenario)
