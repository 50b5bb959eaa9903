"""A stream from its first message to its last: frames, sound, clocks and ends."""

import asyncio
from collections.abc import Callable

import grpc
import numpy as np
import pytest

from flashtalk.serving.errors import Reason, field_of, reason_of, retry_after_s
from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as pb
from tests.fakes.stand_in_workers import StandIn
from tests.integration.gateway.suite import (
    SPEC,
    Watcher,
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


def test_an_idle_session_never_stops_and_speech_comes_through() -> None:
    async def scenario() -> None:
        request = creation(idle_policy=pb.IDLE_POLICY_MODEL, pacing=pb.PACING_REAL_TIME)
        async with small_suite() as (gateway, _):
            made = await gateway.stub.CreateSession(request)
            call, _ = await opened(gateway.stub, made.session.session_id)
            seen = await watch(call, Watcher(), lambda w: w.next_frame >= 10)
            assert seen.activities == [(stream_pb2.Activity.KIND_IDLE, 0)]
            assert not seen.sound.any()
            pcm_S = speech(CHUNK + 640)
            await send(call, pcm_S, 0)
            await end(call)
            await watch(call, seen, lambda w: len(w.activities) == 3)
            speaking, idle = seen.activities[1:]
            assert speaking[0] == stream_pb2.Activity.KIND_SPEAKING
            assert idle[1] == speaking[1] + 56
            begin = speaking[1] * 640
            await watch(call, seen, lambda w: w.next_frame > idle[1])
            np.testing.assert_array_equal(seen.sound[begin : begin + len(pcm_S)], pcm_S)
            assert not seen.underruns
            call.cancel()

    run(scenario)


def test_a_held_picture_is_the_last_one_and_moves_on_with_speech() -> None:
    async def scenario() -> None:
        request = creation(
            idle_policy=pb.IDLE_POLICY_HOLD,
            pacing=pb.PACING_REAL_TIME,
            video_codec=media_pb2.VIDEO_CODEC_RAW_RGB24,
        )
        async with small_suite() as (gateway, _):
            made = await gateway.stub.CreateSession(request)
            call, _ = await opened(gateway.stub, made.session.session_id)
            await send(call, speech(CHUNK), 0)
            await end(call)
            seen = await watch(call, Watcher(), lambda w: w.next_frame >= 40)
            assert len(set(seen.video[:28])) == 28
            assert set(seen.video[28:]) == {seen.video[27]}
            assert seen.activities[-1] == (stream_pb2.Activity.KIND_IDLE, 28)
            call.cancel()

    run(scenario)


@pytest.mark.parametrize("idle_frames", [0, 10])
def test_live_speech_comes_through_without_a_gap(idle_frames: int) -> None:
    """Spoken a tenth of a second at a time, as the stream opens or while it idles."""

    async def scenario() -> None:
        stand_in = StandIn(audio_s=0.02, denoise_s=0.5, decode_s=0.15, motion_s=0.01)
        request = creation(idle_policy=pb.IDLE_POLICY_MODEL, pacing=pb.PACING_REAL_TIME)
        async with small_suite(stand_in) as (gateway, _):
            made = await gateway.stub.CreateSession(request)
            call, _ = await opened(gateway.stub, made.session.session_id)
            seen = await watch(call, Watcher(), lambda w: w.next_frame >= idle_frames)
            pcm_S = speech(4 * 16_000)

            async def speak() -> None:
                begun_s, first = asyncio.get_running_loop().time(), 0
                for begin in range(0, len(pcm_S), 1_600):
                    await asyncio.sleep(
                        begun_s + begin / 16_000 - asyncio.get_running_loop().time()
                    )
                    first = await send(call, pcm_S[begin : begin + 1_600], first)
                await end(call)

            speaking = asyncio.create_task(speak())
            await watch(call, seen, lambda w: len(w.activities) > 1 and w.activity == IDLE)
            await speaking
            await watch(call, seen, lambda w: w.next_frame > w.activities[-1][1])
            call.cancel()
            assert seen.underruns == []
            begin = int(np.flatnonzero(seen.sound)[0])
            np.testing.assert_array_equal(seen.sound[begin : begin + len(pcm_S)], pcm_S)
            assert not seen.sound[begin + len(pcm_S) :].any()

    run(scenario)


def test_workers_learn_whose_chunk_is_due_first() -> None:
    """By the deadlines of calls, which the workers' lanes go by: a file has more time."""

    async def scenario() -> None:
        async with small_suite() as (gateway, servers):
            left_s = servers[0].workers.time_left_s
            names = []
            for pacing in (pb.PACING_REAL_TIME, pb.PACING_UNLIMITED):
                made = await gateway.stub.CreateSession(creation(pacing=pacing))
                names.append(made.session.session_id)
                call, _ = await opened(gateway.stub, names[-1])
                await send(call, speech(CHUNK), 0)
                await finish(call)
                await watch(call, Watcher())
            live_s, file_s = (left_s[name] for name in names)
            assert 5.0 - 1.0 < live_s < 5.0 + CHUNK / 16_000
            assert file_s > live_s + 1.0

    run(scenario)


def test_speech_that_comes_too_late_is_filled_up_and_said_so() -> None:
    async def scenario() -> None:
        request = creation(idle_policy=pb.IDLE_POLICY_MODEL, pacing=pb.PACING_REAL_TIME)
        async with small_suite() as (gateway, _):
            made = await gateway.stub.CreateSession(request)
            call, _ = await opened(gateway.stub, made.session.session_id)
            await send(call, speech(CHUNK + 700), 0)  # and no end of it
            seen = await watch(call, Watcher(), lambda w: bool(w.underruns))
            assert seen.underruns == [CHUNK - 700]
            call.cancel()

    run(scenario)


def test_frames_come_at_the_speed_of_a_player() -> None:
    async def scenario() -> None:
        request = creation(pacing=pb.PACING_REAL_TIME)
        async with small_suite() as (gateway, _):
            loop = asyncio.get_running_loop()
            begun_s = loop.time()
            seen = await whole(gateway.stub, request, speech(2 * CHUNK))
            # 56 frames last 2.24 s, of which 0.2 s may leave early.
            assert 1.9 < loop.time() - begun_s < 4
            assert len(seen.video) == 56

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
            async with asyncio.timeout(10):
                while seen.closed is None:
                    response = await call.read()
                    assert response is not grpc.aio.EOF, await call.code()
                    if response.WhichOneof("message") == "closed":
                        seen.closed = response.closed
            assert seen.closed.reason == stream_pb2.StreamClosed.REASON_DELETED
            async with asyncio.timeout(5):
                await call.code()
                while len(set(await gateway.pool.free_slots())) > 1:  # noqa: ASYNC110 - free, all
                    await asyncio.sleep(0.01)

    run(scenario)
