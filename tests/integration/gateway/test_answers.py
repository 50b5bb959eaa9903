"""Every interruption is answered exactly once, in order, whatever else happens to the stream."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flashtalk.client import ClientError, FlashTalkClient
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2
from flashtalk.wire.status import Reason
from tests.fakes.stand_in_workers import StandIn
from tests.integration.gateway.suite import (
    SPEC,
    Gateway,
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
)
from tests.integration.gateway.watcher import Watcher
from tests.patience import patient, until

CHUNK = SPEC.new_samples
FILE: dict[str, Any] = {"idle_policy": pb.IDLE_POLICY_WAIT, "pacing": pb.PACING_UNLIMITED}
LIVE: dict[str, Any] = {"idle_policy": pb.IDLE_POLICY_MODEL, "pacing": pb.PACING_REAL_TIME}


async def interrupt(call: Any, name: str, played: int | None = None) -> None:
    message = stream_pb2.Interrupt(interrupt_id=name, played_frames=played)
    await call.write(stream_pb2.StreamRequest(interrupt=message))


@pytest.mark.parametrize("count", [2, 3, 5, 12])
@pytest.mark.parametrize("kind", ["file", "live"])
@pytest.mark.parametrize("spoken", [0, 3 * CHUNK])
def test_interruptions_at_once_are_all_answered_in_order(
    count: int, kind: str, spoken: int
) -> None:
    async def scenario() -> None:
        async with small_suite(StandIn(denoise_s=0.01, decode_s=0.01)) as (running, _):
            made = await running.stub.CreateSession(creation(**(FILE if kind == "file" else LIVE)))
            call, _ = await opened(running.stub, made.session.session_id)
            if spoken:
                await send(call, speech(spoken), 0)
            names = [f"cut {number}" for number in range(count)]
            for name in names:
                await interrupt(call, name)
            seen = await watch(call, Watcher(), lambda w: len(w.interrupted) == count)
            assert [i.interrupt_id for i in seen.interrupted] == names
            assert [i.epoch for i in seen.interrupted] == list(range(1, count + 1))
            assert all(i.input_samples == spoken for i in seen.interrupted)
            await finish(call)
            await watch(call, seen)
            assert len(seen.interrupted) == count

    run(scenario)


@pytest.mark.parametrize("played", [0, 20, 40])
def test_frames_between_interruptions_are_dropped_and_answers_are_not(played: int) -> None:
    async def scenario() -> None:
        async with small_suite() as (running, _):
            made = await running.stub.CreateSession(creation(**LIVE))
            call, _ = await opened(running.stub, made.session.session_id)
            position = await send(call, speech(4 * CHUNK), 0)
            seen = await watch(call, Watcher(), lambda w: w.next_frame >= played)
            for turn in range(4):
                await interrupt(call, f"cut {turn}")
                position = await send(call, speech(CHUNK, turn), position)
                await end(call)
            await finish(call)
            await watch(call, seen)
            assert [i.interrupt_id for i in seen.interrupted] == [f"cut {n}" for n in range(4)]
            # Each knows what the server had of the speech that stood before it.
            said = [i.input_samples for i in seen.interrupted]
            assert said == [(4 + turn) * CHUNK for turn in range(4)]

    run(scenario)


def test_an_answer_outlives_the_session_that_it_ended() -> None:
    """From elsewhere, after Finish: carried out, it ends the stream, and then it is asked for."""

    async def scenario() -> None:
        async with small_suite() as (running, _):
            made = await running.stub.CreateSession(creation(**(LIVE | FILE_OF_LIVE)))
            name = made.session.session_id
            call, _ = await opened(running.stub, name)
            await send(call, speech(6 * CHUNK), 0)
            await finish(call)
            seen = await watch(call, Watcher(), lambda w: w.next_frame >= 5)
            request = pb.InterruptSessionRequest(session_id=name, interrupt_id="from afar")
            asking = asyncio.ensure_future(
                running.stub.InterruptSession(request, timeout=patient(20))
            )
            await watch(call, seen)
            answer = await asking
            assert answer.interrupted == seen.interrupted[0]
            assert answer.interrupted.input_samples == 6 * CHUNK
            assert await running.stub.InterruptSession(request) == answer

    run(scenario)


FILE_OF_LIVE = {"idle_policy": pb.IDLE_POLICY_WAIT}


@pytest.mark.parametrize("tail", [0, 5_000])
def test_a_client_that_only_listens_hears_complete_utterances_out(tail: int) -> None:
    async def scenario() -> None:
        async with small_suite(StandIn(denoise_s=0.01)) as (running, _):
            made = await running.stub.CreateSession(creation())
            call, _ = await opened(running.stub, made.session.session_id)
            position = await send(call, speech(3 * CHUNK + 1_000), 0)
            await end(call)
            if tail:
                await send(call, speech(tail), position)
            await call.done_writing()
            seen = await watch(call, Watcher())
            assert seen.closed is not None
            assert seen.closed.reason == stream_pb2.StreamClosed.REASON_HALF_CLOSED
            assert len(seen.video) == 3 * 28 + 2
            found = await running.stub.GetSession(
                pb.GetSessionRequest(session_id=made.session.session_id)
            )
            assert found.session.next_frame == 3 * 28 + 2

    run(scenario)


def client_of(running: Gateway, patience_s: float = 30.0) -> FlashTalkClient:
    return FlashTalkClient(f"127.0.0.1:{running.port}", patience_s=patient(patience_s))


def test_the_python_client_is_answered_each_time() -> None:
    async def scenario() -> None:
        async with small_suite() as (running, _), client_of(running) as client:
            session = await client.create_session(portrait(), **FILE)
            async with client.stream(session) as stream:
                reading = asyncio.ensure_future(_all(stream))
                await stream.push_audio(speech(10 * CHUNK))
                answers = await asyncio.gather(*(stream.interrupt() for _ in range(3)))
                assert [answer.epoch for answer in answers] == [1, 2, 3]
                await stream.push_audio(speech(CHUNK))
                await stream.finish()
                await reading

    run(scenario)


def test_an_interruption_from_elsewhere_makes_room_for_more_speech() -> None:
    """The window is full, nobody reads the worker's mind: without input_samples it stays full."""

    async def scenario() -> None:
        slow = StandIn(denoise_s=0.05)
        async with small_suite(slow) as (running, _), client_of(running) as client:
            session = await client.create_session(portrait(), **(LIVE | FILE_OF_LIVE))
            async with client.stream(session) as stream:
                reading = asyncio.ensure_future(_all(stream))
                pushing = asyncio.ensure_future(stream.push_audio(speech(60 * 16_000)))
                await until(lambda: stream.next_frame >= 3)
                assert not pushing.done()
                other = await client.interrupt_session(session.session_id)
                assert other.input_samples > 20 * 16_000
                while not pushing.done():
                    await client.interrupt_session(session.session_id)
                await pushing
                await client.interrupt_session(session.session_id)
                await stream.finish()
                await reading

    run(scenario, limit_s=patient(120))


def test_no_call_of_the_client_waits_for_ever() -> None:
    """Nobody reads: neither an interruption nor a push ever gets anywhere."""

    async def scenario() -> None:
        async with (
            small_suite() as (running, _),
            FlashTalkClient(f"127.0.0.1:{running.port}", patience_s=1.0) as client,
        ):
            session = await client.create_session(portrait(), **FILE)
            async with client.stream(session) as stream:
                with pytest.raises(ClientError, match="no speech was accepted within 1 s"):
                    await stream.push_audio(speech(300 * 16_000))
                with pytest.raises(ClientError, match="no acknowledgement of the interruption"):
                    await stream.interrupt()

    run(scenario, limit_s=patient(120))


def test_a_session_in_use_is_taken_over_only_if_asked() -> None:
    async def scenario() -> None:
        async with small_suite() as (running, _), client_of(running) as client:
            session = await client.create_session(portrait(), **LIVE)
            async with client.stream(session) as first:
                await _frames(first, 2)
                async with client_of(running) as another, another.stream(session) as second:
                    with pytest.raises(ClientError) as busy:
                        await anext(second)
                    assert busy.value.reason is Reason.SESSION_BUSY
                await _frames(first, 1)
                async with (
                    client_of(running) as another,
                    another.stream(session, resume=True) as second,
                ):
                    await _frames(second, 2)
                    with pytest.raises(ClientError) as superseded:
                        await _all(first)
                    assert superseded.value.reason is Reason.SUPERSEDED

    run(scenario)


def test_whoever_wants_to_wait_for_a_slot_waits() -> None:
    async def scenario() -> None:
        async with small_suite(StandIn(slots=1)) as (running, _), client_of(running) as client:
            kept = await client.create_session(portrait(), **FILE)
            with pytest.raises(ClientError) as full:
                await client.create_session(portrait(), **FILE)
            assert full.value.reason is Reason.NO_SLOT
            waiting = asyncio.ensure_future(
                client.create_session(portrait(), wait_for_slot=True, **FILE)
            )
            await asyncio.wait({waiting}, timeout=0)
            await client.delete_session(kept.session_id)
            assert (await waiting).session_id != kept.session_id

    run(scenario)


async def _all(stream: Any) -> list[Any]:
    return [event async for event in stream]


async def _frames(stream: Any, count: int) -> None:
    """Reads until so many more frames have come."""
    wanted = stream.next_frame + count
    while stream.next_frame < wanted:
        await anext(stream)
