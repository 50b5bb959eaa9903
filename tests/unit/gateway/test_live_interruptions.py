"""Interruptions to the frame, in virtual time: what was heard stays, then comes what follows."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest

from flashtalk.serving.errors import Reason, reason_of
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2
from tests.fakes.in_process_grpc import Network
from tests.fakes.stand_in_workers import StandIn
from tests.fakes.virtual_suite import AHEAD_S, FRAME_S, in_virtual_time, talking, virtual_suite
from tests.fakes.virtual_time import pass_time
from tests.integration.gateway.suite import (
    SPEC,
    StandInServer,
    finish,
    gateway,
    memory_store,
    send,
    speech,
    watch,
)

CHUNK = SPEC.new_samples
SLOW = StandIn(audio_s=0.02, denoise_s=0.08, decode_s=0.08, motion_s=0.02)
SPEAKING = stream_pb2.Activity.KIND_SPEAKING
VOICE = speech(5 * CHUNK + 3_000)
FILE = {"pacing": pb.PACING_UNLIMITED, "idle_policy": pb.IDLE_POLICY_WAIT}
LIVE = {"pacing": pb.PACING_REAL_TIME, "idle_policy": pb.IDLE_POLICY_WAIT}


def interrupting(name: str, played: int | None) -> stream_pb2.StreamRequest:
    interrupt = stream_pb2.Interrupt(interrupt_id=name, played_frames=played)
    return stream_pb2.StreamRequest(interrupt=interrupt)


@pytest.mark.parametrize("together", [0, 7])
@pytest.mark.parametrize("pacing", [FILE, LIVE])
@pytest.mark.parametrize("stop_at", [1, 4, 27, 28, 29, 30, 56, 57, 100, 139])
def test_an_interruption_is_a_barrier(pacing: dict[str, int], stop_at: int, together: int) -> None:
    async def scenario() -> None:
        async with virtual_suite(SLOW) as (running, _):
            call, _, seen = await talking(running.stub, together, **pacing)
            position = await send(call, VOICE, 0)
            await watch(call, seen, lambda w: w.next_frame >= stop_at)
            await call.write(interrupting("stop", stop_at))
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

    in_virtual_time(scenario)


@pytest.mark.parametrize("after", [1, 2, 10, 26, 27])
def test_what_was_heard_of_a_beginning_after_silence(after: int) -> None:
    """The beginning of an utterance stands at a chunk's end: before it nothing was heard."""

    async def scenario() -> None:
        async with virtual_suite() as (running, _):
            call, _, seen = await talking(running.stub)
            begun = VOICE[:12_345]
            await send(call, begun, 0)
            await watch(call, seen, lambda w: w.activity == SPEAKING)
            played = seen.activities[-1][1] + after
            await watch(call, seen, lambda w: w.next_frame >= played)
            heard = np.count_nonzero(seen.sound[: played * 640])
            await call.write(interrupting("stop", played))
            await watch(call, seen, lambda w: bool(w.interrupted))
            assert seen.interrupted[0].dropped_samples == len(begun) - heard
            call.cancel()

    in_virtual_time(scenario)


@pytest.mark.parametrize("together", [0, 7])
@pytest.mark.parametrize("after_s", [0.013, 0.37, 0.613, 1.5])
def test_without_a_word_from_the_player_the_clock_says_what_was_shown(
    after_s: float, together: int
) -> None:
    async def scenario() -> None:
        async with virtual_suite(SLOW) as (running, _):
            call, _, seen = await talking(running.stub, together, **LIVE)
            await send(call, VOICE, 0)
            await watch(call, seen, lambda w: w.next_frame >= 1)
            begun_s = seen.at_s[0] + AHEAD_S
            watching = asyncio.create_task(watch(call, seen, lambda w: bool(w.interrupted)))
            await pass_time(after_s)
            shown = (asyncio.get_running_loop().time() - begun_s) / FRAME_S
            await call.write(interrupting("stop", None))
            await watching
            assert seen.interrupted[0].played_frames == max(0, int(shown // 1) + 1)
            call.cancel()

    in_virtual_time(scenario)


def test_an_interruption_from_elsewhere_is_answered_and_carried_out_once() -> None:
    async def scenario() -> None:
        network = Network()
        worker = await StandInServer.start(SLOW, transport=network)
        store = memory_store()
        async with (
            gateway(worker.target, store, owner="one", transport=network) as first,
            gateway(worker.target, store, owner="two", transport=network) as second,
        ):
            call, name, seen = await talking(first.stub, **LIVE)
            await send(call, VOICE, 0)
            watching = asyncio.create_task(watch(call, seen, lambda w: bool(w.interrupted)))
            await pass_time(0.6)
            request = pb.InterruptSessionRequest(session_id=name, interrupt_id="from afar")
            answer = await second.stub.InterruptSession(request)
            await watching
            assert list(seen.interrupted) == [answer.interrupted]
            call.cancel()
            await pass_time(0.1)
            # Whoever lost the answer gets it again; nothing more can be interrupted.
            assert await second.stub.InterruptSession(request) == answer
            request.interrupt_id = "another"
            with pytest.raises(grpc.aio.AioRpcError) as silent:
                await second.stub.InterruptSession(request)
            assert reason_of(silent.value) is Reason.NO_STREAM
        await worker.kill()

    in_virtual_time(scenario)
