"""A stream from its first message to its last: frames, sound, clocks and ends."""

import asyncio
from collections.abc import Callable

import grpc
import numpy as np
import pytest

from flashtalk.serving.errors import Reason, field_of, reason_of, retry_after_s
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2
from tests.fakes.stand_in_workers import StandIn
from tests.integration.gateway.suite import (
    SPEC,
    creation,
    end,
    finish,
    opened,
    portrait,
    run,
    send,
    small_suite,
    speech,
    watch,
    whole,
)
from tests.integration.gateway.watcher import Watcher
from tests.patience import patient, until_true

CHUNK = SPEC.new_samples
FINISHED = stream_pb2.StreamClosed.REASON_FINISHED
IDLE = stream_pb2.Activity.KIND_IDLE


@pytest.mark.parametrize("samples", [1, 640, 641, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7_777])
def test_every_sample_is_shown_once_at_its_place(samples: int) -> None:
    async def scenario() -> None:
        async with small_suite() as (gateway, _):
            pcm_S = speech(samples)
            seen = await whole(gateway.stub, creation(), pcm_S)
            assert seen.closed is not None
            assert seen.closed.reason == FINISHED
            assert len(seen.video) == -(-samples // 640)
            np.testing.assert_array_equal(seen.sound[:samples], pcm_S)
            assert not seen.sound[samples:].any()
            assert len(set(seen.video)) == len(seen.video)
            assert seen.chunks[-1].input_samples == samples
            with pytest.raises(grpc.aio.AioRpcError) as gone:
                await opened(gateway.stub, "gone")
            assert reason_of(gone.value) is Reason.SESSION_GONE

    run(scenario)


def test_packets_of_any_size_give_the_same_frames() -> None:
    async def scenario() -> None:
        pcm_S = speech(2 * CHUNK + 5_000)
        seen = []
        async with small_suite() as (gateway, _):
            for packet in (997, 6_000, 40_000):
                made = await gateway.stub.CreateSession(creation())
                call, _ = await opened(gateway.stub, made.session.session_id)
                await send(call, pcm_S, 0, packet)
                await finish(call)
                seen.append(await watch(call, Watcher()))
        assert seen[0].video == seen[1].video == seen[2].video

    run(scenario)


def test_two_sessions_in_turns_are_what_each_is_alone() -> None:
    async def scenario() -> None:
        requests = [creation(portrait=portrait(1), seed=1), creation(portrait=portrait(2), seed=2)]
        voices = [speech(4 * CHUNK, 1), speech(4 * CHUNK, 2)]
        stand_in = StandIn(denoise_s=0.01, decode_s=0.01)
        async with small_suite(stand_in) as (gateway, _):
            alone = [
                await whole(gateway.stub, request, pcm_S)
                for request, pcm_S in zip(requests, voices, strict=True)
            ]
            for request in requests:
                request.request_id += "-again"
            calls = []
            for request in requests:
                made = await gateway.stub.CreateSession(request)
                calls.append((await opened(gateway.stub, made.session.session_id))[0])
            watchers = [Watcher(), Watcher()]
            for turn in range(4):
                for call, watcher, pcm_S in zip(calls, watchers, voices, strict=True):
                    part_S = pcm_S[turn * CHUNK : (turn + 1) * CHUNK]
                    await send(call, part_S, turn * CHUNK)
                    await watch(call, watcher, after(turn))
            for call, watcher in zip(calls, watchers, strict=True):
                await finish(call)
                await watch(call, watcher)
        assert [w.video for w in watchers] == [w.video for w in alone]
        assert watchers[0].video != watchers[1].video

    run(scenario)


def after(chunk: int) -> Callable[[Watcher], bool]:
    return lambda watcher: len(watcher.chunks) > chunk


def test_utterances_follow_each_other_and_each_ends_where_it_ends() -> None:
    async def scenario() -> None:
        async with small_suite() as (gateway, _):
            made = await gateway.stub.CreateSession(creation())
            call, _ = await opened(gateway.stub, made.session.session_id)
            seen, first = Watcher(), 0
            for number, samples in enumerate((1_000, CHUNK, 20_000)):
                first = await send(call, speech(samples, number), first)
                await end(call)
            await finish(call)
            await watch(call, seen)
            assert len(seen.video) == 2 + 28 + 32
            assert seen.chunks[-1].input_samples == first
            assert [chunk.frames for chunk in seen.chunks] == [2, 28, 28, 4]

    run(scenario)


def test_a_live_session_idles_speaks_and_idles_again() -> None:
    """To the frame it is looked at in ``tests/unit/gateway/test_live_stream.py``."""

    async def scenario() -> None:
        request = creation(idle_policy=pb.IDLE_POLICY_MODEL, pacing=pb.PACING_REAL_TIME)
        async with small_suite() as (gateway, _):
            made = await gateway.stub.CreateSession(request)
            call, _ = await opened(gateway.stub, made.session.session_id)
            seen = await watch(call, Watcher(), lambda w: w.next_frame >= 5)
            assert seen.activities == [(IDLE, 0)]
            assert not seen.sound.any()
            pcm_S = speech(CHUNK - 640)
            await send(call, pcm_S, 0)
            await end(call)
            await watch(call, seen, lambda w: len(w.activities) == 3)
            speaking, idle = seen.activities[1:]
            assert speaking[0] == stream_pb2.Activity.KIND_SPEAKING
            assert idle[1] == speaking[1] + 28
            begin = speaking[1] * 640
            np.testing.assert_array_equal(seen.sound[begin : begin + len(pcm_S)], pcm_S)
            call.cancel()

    run(scenario)


def test_a_full_house_refuses_and_a_place_that_is_given_back_is_taken() -> None:
    async def scenario() -> None:
        async with small_suite(StandIn(slots=2)) as (gateway, _):
            kept = [await gateway.stub.CreateSession(creation()) for _ in range(2)]
            with pytest.raises(grpc.aio.AioRpcError) as full:
                await gateway.stub.CreateSession(creation())
            assert full.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert reason_of(full.value) is Reason.NO_SLOT
            assert (retry_after_s(full.value) or 0) > 0
            request = pb.DeleteSessionRequest(session_id=kept[0].session.session_id)
            await gateway.stub.DeleteSession(request)
            await gateway.stub.CreateSession(creation())
            assert await gateway.pool.free_slots() == (0, 2)

    run(scenario)


def test_a_repeated_request_gives_the_same_session_and_takes_one_place() -> None:
    async def scenario() -> None:
        async with small_suite(StandIn(slots=3)) as (gateway, _):
            request = creation()
            made = await asyncio.gather(*(gateway.stub.CreateSession(request) for _ in range(3)))
            assert len({m.session.session_id for m in made}) == 1
            assert await gateway.pool.free_slots() == (2, 3)
            request.seed += 1
            with pytest.raises(grpc.aio.AioRpcError) as conflict:
                await gateway.stub.CreateSession(request)
            assert conflict.value.code() is grpc.StatusCode.ALREADY_EXISTS
            assert field_of(conflict.value) == "request_id"

    run(scenario)


def test_sessions_can_be_looked_at_and_ended() -> None:
    async def scenario() -> None:
        async with small_suite() as (gateway, _):
            made = [(await gateway.stub.CreateSession(creation())).session for _ in range(3)]
            listed = await gateway.stub.ListSessions(pb.ListSessionsRequest(page_size=2))
            rest = await gateway.stub.ListSessions(
                pb.ListSessionsRequest(page_token=listed.next_page_token)
            )
            names = [s.session_id for s in (*listed.sessions, *rest.sessions)]
            assert names == [s.session_id for s in made]
            call, _ = await opened(gateway.stub, names[0])
            found = await gateway.stub.GetSession(pb.GetSessionRequest(session_id=names[0]))
            assert found.session.state == pb.Session.STATE_STREAMING
            await gateway.stub.DeleteSession(pb.DeleteSessionRequest(session_id=names[0]))
            seen = await watch(call, Watcher())
            assert seen.closed is not None
            assert seen.closed.reason == stream_pb2.StreamClosed.REASON_DELETED

    run(scenario)


@pytest.mark.parametrize("frame", [1, 20, 30])
def test_a_session_that_is_deleted_while_it_is_made_ends_in_order(frame: int) -> None:
    """Whoever learns of it first: the commit of the chunk, or the heartbeat."""

    async def scenario() -> None:
        stand_in = StandIn(denoise_s=0.02, decode_s=0.02)
        async with small_suite(stand_in) as (gateway, _):
            made = await gateway.stub.CreateSession(creation())
            name = made.session.session_id
            call, _ = await opened(gateway.stub, name)
            await send(call, speech(20 * CHUNK), 0)
            seen = await watch(call, Watcher(), lambda w: w.next_frame >= frame)
            await gateway.stub.DeleteSession(pb.DeleteSessionRequest(session_id=name))
            async with asyncio.timeout(patient(60)):
                while seen.closed is None:
                    response = await call.read()
                    assert response is not grpc.aio.EOF, await call.code()
                    if response.WhichOneof("message") == "closed":
                        seen.closed = response.closed
                await call.code()
            assert seen.closed.reason == stream_pb2.StreamClosed.REASON_DELETED

            async def all_free() -> bool:
                free, slots = await gateway.pool.free_slots()
                return free == slots

            await until_true(all_free)

    run(scenario)
