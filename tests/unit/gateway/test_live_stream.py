"""Streams in real time, to the frame: what comes when, while somebody speaks and while nobody does.

The whole gateway runs here with stand-in workers, in virtual time: every moment is exact.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as pb
from services.gateway.stream.conductor import FIRST_IDLE_AFTER_S
from services.gateway.stream.pace import JITTER_FRAMES
from tests.fakes.stand_in_workers import StandIn
from tests.fakes.virtual_suite import (
    FRAME_S,
    ROUNDING_S,
    TimedWatcher,
    in_virtual_time,
    speak,
    talking,
    virtual_suite,
)
from tests.fakes.virtual_time import pass_time
from tests.integration.gateway.suite import (
    CALL_S,
    SPEC,
    creation,
    end,
    finish,
    opened,
    send,
    speech,
    watch,
)

CHUNK = SPEC.new_samples
CHUNK_S = CHUNK / SPEC.pcm_hz
SPEAKING = stream_pb2.Activity.KIND_SPEAKING
IDLE = stream_pb2.Activity.KIND_IDLE
SWIFT = StandIn()
SLOW = StandIn(audio_s=0.02, denoise_s=0.5, decode_s=0.15, motion_s=0.01)
"""Two thirds of the time that its video lasts."""

LEAST_LEAD_S = 0.05 + JITTER_FRAMES * FRAME_S
"""How long after its plan a first chunk is shown, where workers take no time."""


def now_s() -> float:
    return asyncio.get_running_loop().time()


def exactly(seconds: float) -> object:
    return pytest.approx(seconds, abs=ROUNDING_S)


@pytest.mark.parametrize("stand_in", [SWIFT, SLOW])
def test_frames_come_at_the_speed_of_a_player(stand_in: StandIn) -> None:
    async def scenario() -> None:
        async with virtual_suite(stand_in) as (gateway, _):
            call, _, seen = await talking(gateway.stub, idle_policy=pb.IDLE_POLICY_WAIT)
            await send(call, speech(2 * CHUNK), 0)
            await finish(call)
            await watch(call, seen)
            assert len(seen.video) == 56
            seen.check_steps()
            # 56 frames last 2.24 s, and nobody waits while the last one is shown.
            assert seen.at_s[-1] - seen.at_s[0] == exactly(2.24 - FRAME_S)

    in_virtual_time(scenario)


@pytest.mark.parametrize("send_ahead_s", [0.0, 0.2, 1.0])
def test_frames_leave_so_much_ahead_of_their_time(send_ahead_s: float) -> None:
    async def scenario() -> None:
        async with virtual_suite(SLOW, send_ahead_s=send_ahead_s) as (gateway, _):
            call, _, seen = await talking(gateway.stub, idle_policy=pb.IDLE_POLICY_WAIT)
            await send(call, speech(4 * CHUNK), 0)
            await finish(call)
            await watch(call, seen)
            assert len(seen.video) == 4 * 28
            seen.check_pace(send_ahead_s)

    in_virtual_time(scenario)


@pytest.mark.parametrize("stand_in", [SWIFT, SLOW])
def test_frames_that_come_together_are_the_same_and_none_is_later(stand_in: StandIn) -> None:
    async def scenario() -> None:
        seen: dict[int, TimedWatcher] = {}
        begun_s: dict[int, float] = {}
        for together in (0, 7):
            async with virtual_suite(stand_in) as (gateway, _):
                begun_s[together] = now_s()
                call, _, watcher = await talking(gateway.stub, together)
                await speak(call, speech(3 * CHUNK + 700))
                await watch(call, watcher, lambda w: w.next_frame >= 8 * SPEC.fps)
                seen[together] = watcher
        count = 8 * SPEC.fps
        single = np.array(seen[0].at_s[:count]) - begun_s[0]
        grouped = np.array(seen[7].at_s[:count]) - begun_s[7]
        assert seen[7].video[:count] == seen[0].video[:count]
        np.testing.assert_array_equal(seen[7].sound[: 640 * count], seen[0].sound[: 640 * count])
        assert (grouped <= single + ROUNDING_S).all()
        assert (grouped >= single - 6 * FRAME_S - ROUNDING_S).all()
        assert len(set(grouped)) < count / 3, "most of them came in company"

    in_virtual_time(scenario)


@pytest.mark.parametrize("stand_in", [SWIFT, SLOW])
def test_an_idle_session_never_stops_and_speech_comes_through(stand_in: StandIn) -> None:
    async def scenario() -> None:
        async with virtual_suite(stand_in) as (gateway, _):
            call, _, seen = await talking(gateway.stub)
            begun_s = now_s()
            await watch(call, seen, lambda w: w.next_frame >= 20 * SPEC.fps)
            if stand_in is SWIFT:
                assert seen.at_s[0] - begun_s == exactly(FIRST_IDLE_AFTER_S)
            assert seen.activities == [(IDLE, 0)]
            assert not seen.sound.any()
            pcm_S = speech(CHUNK + 640)
            await send(call, pcm_S, 0)
            await end(call)
            await watch(call, seen, lambda w: len(w.activities) == 3)
            speaking, idle = seen.activities[1:]
            assert speaking[0] == SPEAKING
            assert idle[1] == speaking[1] + 56
            begin = speaking[1] * 640
            await watch(call, seen, lambda w: w.next_frame > idle[1])
            np.testing.assert_array_equal(seen.sound[begin : begin + len(pcm_S)], pcm_S)
            assert not seen.underruns
            seen.check_pace()
            call.cancel()

    in_virtual_time(scenario)


@pytest.mark.parametrize("codec", [media_pb2.VIDEO_CODEC_RAW_RGB24, media_pb2.VIDEO_CODEC_H264])
def test_a_held_picture_is_the_last_one_and_moves_on_with_speech(codec: int) -> None:
    async def scenario() -> None:
        async with virtual_suite() as (gateway, _):
            call, _, seen = await talking(
                gateway.stub, idle_policy=pb.IDLE_POLICY_HOLD, video_codec=codec
            )
            position = await send(call, speech(CHUNK), 0)
            await end(call)
            await watch(call, seen, lambda w: w.next_frame >= 40)
            assert len(set(seen.video[:28])) == 28
            if codec == media_pb2.VIDEO_CODEC_RAW_RGB24:
                assert set(seen.video[28:]) == {seen.video[27]}
            assert seen.activities[-1] == (IDLE, 28)
            await send(call, speech(CHUNK, 1), position)
            await end(call)
            await watch(call, seen, lambda w: len(w.activities) == 4)
            speaking, idle = seen.activities[2:]
            assert speaking[0] == SPEAKING
            assert idle[1] == speaking[1] + 28
            assert len(set(seen.video[speaking[1] : idle[1]])) == 28
            seen.check_pace()
            call.cancel()

    in_virtual_time(scenario)


@pytest.mark.parametrize("idle_frames", [0, 1, 10, 27, 28, 41, 56])
@pytest.mark.parametrize("stand_in", [SWIFT, SLOW])
def test_live_speech_comes_through_without_a_gap(stand_in: StandIn, idle_frames: int) -> None:
    """Spoken a tenth of a second at a time, as the stream opens or while it idles."""

    async def scenario() -> None:
        async with virtual_suite(stand_in) as (gateway, _):
            call, _, seen = await talking(gateway.stub)
            await watch(call, seen, lambda w: w.next_frame >= idle_frames)
            pcm_S = speech(4 * 16_000)
            speaking = asyncio.create_task(speak(call, pcm_S))
            await watch(call, seen, lambda w: len(w.activities) > 1 and w.activity == IDLE)
            await speaking
            await watch(call, seen, lambda w: w.next_frame > w.activities[-1][1])
            call.cancel()
            assert seen.underruns == []
            begin = int(np.flatnonzero(seen.sound)[0])
            np.testing.assert_array_equal(seen.sound[begin : begin + len(pcm_S)], pcm_S)
            assert not seen.sound[begin + len(pcm_S) :].any()
            seen.check_pace()

    in_virtual_time(scenario)


def test_workers_learn_whose_chunk_is_due_first() -> None:
    """By the deadlines of calls, which the workers' lanes go by: a file has more time."""

    async def scenario() -> None:
        async with virtual_suite() as (gateway, servers):
            left_s = []
            for pacing in (pb.PACING_REAL_TIME, pb.PACING_UNLIMITED):
                call, name, seen = await talking(
                    gateway.stub, pacing=pacing, idle_policy=pb.IDLE_POLICY_WAIT
                )
                await send(call, speech(CHUNK), 0)
                await watch(call, seen, lambda w: w.next_frame == 1)
                left_s.append(servers[0].workers.time_left_s[name])
                await send(call, speech(CHUNK), CHUNK)
                await finish(call)
                await watch(call, seen)
                left_s.append(servers[0].workers.time_left_s[name])
            # The first chunk is due when its lead has passed, the second when the first was shown.
            assert left_s[0] == exactly(CALL_S + LEAST_LEAD_S)
            assert left_s[1] == exactly(CALL_S + 0.2 + CHUNK_S)
            assert left_s[2] == left_s[3] == exactly(CALL_S + 5.0)

    in_virtual_time(scenario)


@pytest.mark.parametrize("stand_in", [SWIFT, SLOW])
def test_speech_that_comes_too_late_is_filled_up_and_said_so(stand_in: StandIn) -> None:
    async def scenario() -> None:
        async with virtual_suite(stand_in) as (gateway, _):
            call, _, seen = await talking(gateway.stub)
            pcm_S = speech(CHUNK + 700)
            await send(call, pcm_S, 0)  # and no end of it
            await watch(call, seen, lambda w: bool(w.underruns))
            assert seen.underruns == [CHUNK - 700]
            await watch(call, seen, lambda w: w.next_frame == 56)
            np.testing.assert_array_equal(seen.sound[: len(pcm_S)], pcm_S)
            assert not seen.sound[len(pcm_S) :].any()
            seen.check_pace()
            call.cancel()

    in_virtual_time(scenario)


def test_workers_that_are_too_slow_move_the_clock_and_nothing_is_skipped() -> None:
    """The picture stands still between chunks; in them frames come at their pace."""

    async def scenario() -> None:
        async with virtual_suite(StandIn(denoise_s=2.0)) as (gateway, _):
            call, _, seen = await talking(gateway.stub, idle_policy=pb.IDLE_POLICY_WAIT)
            pcm_S = speech(4 * CHUNK)
            await send(call, pcm_S, 0)
            await finish(call)
            await watch(call, seen)
            np.testing.assert_array_equal(seen.sound, pcm_S)
            still = np.flatnonzero(np.diff(seen.at_s) > FRAME_S + ROUNDING_S)
            assert still.tolist() == [27, 55, 83], "between chunks and nowhere else"

    in_virtual_time(scenario)


def test_a_silent_client_hears_that_the_stream_lives() -> None:
    async def scenario() -> None:
        async with virtual_suite() as (gateway, _):
            call, _, _ = await talking(gateway.stub, idle_policy=pb.IDLE_POLICY_WAIT)
            begun_s = now_s()
            for number in range(1, 4):
                response = await call.read()
                assert response.WhichOneof("message") == "heartbeat"
                assert now_s() - begun_s == exactly(5.0 * number)
            call.cancel()

    in_virtual_time(scenario)


def test_a_session_without_a_stream_lives_as_long_as_it_was_made_for() -> None:
    async def scenario() -> None:
        async with virtual_suite(StandIn(slots=1)) as (gateway, _):
            request = creation()
            request.ttl.FromSeconds(5)
            made = await gateway.stub.CreateSession(request)
            await pass_time(4.9)
            call, _ = await opened(gateway.stub, made.session.session_id)
            # While it is open it does not expire.
            await pass_time(60)
            await send(call, speech(CHUNK), 0)
            await finish(call)
            assert len((await watch(call, TimedWatcher())).video) == 28

    in_virtual_time(scenario)
