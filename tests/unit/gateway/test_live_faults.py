"""Workers, clients and gateways that go away at any moment at all, in virtual time.

Every instant of a chunk, one hundredth of a second after the other, and every few frames of a
session: nobody's frames are lost or doubled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc
import numpy as np
import pytest

from flashtalk.serving.errors import Reason, reason_of
from flashtalk.v1 import session_service_pb2 as pb
from services.gateway.store.limits import StoreLimits
from services.gateway.store.memory import MemoryStore
from tests.fakes.in_process_grpc import Network
from tests.fakes.stand_in_workers import StandIn
from tests.fakes.virtual_suite import TimedWatcher, in_virtual_time, talking, virtual_suite
from tests.fakes.virtual_time import pass_time
from tests.integration.gateway.suite import (
    SPEC,
    StandInServer,
    creation,
    finish,
    gateway,
    memory_store,
    opened,
    send,
    speech,
    watch,
    whole,
)
from tests.integration.gateway.watcher import Watcher

CHUNK = SPEC.new_samples
SLOW = StandIn(audio_s=0.02, denoise_s=0.08, decode_s=0.08, motion_s=0.02)
VOICE = speech(5 * CHUNK + 3_000)
MOMENTS_S = [number / 100 for number in range(21)]
FILE = {"pacing": pb.PACING_UNLIMITED, "idle_policy": pb.IDLE_POLICY_WAIT}


@pytest.fixture(scope="module")
def expected() -> list[bytes]:
    """The frames of a session that nothing happens to."""
    frames: list[bytes] = []

    async def scenario() -> None:
        async with virtual_suite() as (running, _):
            frames.extend((await whole(running.stub, creation(**FILE), VOICE)).video)

    in_virtual_time(scenario)
    return frames


async def rest(call: object, seen: Watcher, position: int, voice: np.ndarray = VOICE) -> None:
    """What was not heard for good, and everything to the end."""
    await send(call, voice[position:], position)
    await finish(call)
    await watch(call, seen)


@pytest.mark.parametrize("who", [0, 1])
def test_a_worker_dies_at_any_moment_and_another_goes_on(
    expected: Sequence[bytes], who: int
) -> None:
    async def scenario() -> None:
        for moment_s in MOMENTS_S:
            async with virtual_suite(SLOW, workers=2) as (running, servers):
                made = await running.stub.CreateSession(creation())
                call, _ = await opened(running.stub, made.session.session_id)
                await send(call, VOICE, 0)
                await finish(call)
                seen = await watch(call, Watcher(), lambda w: len(w.chunks) == 2)
                watching = asyncio.create_task(watch(call, seen))
                await pass_time(moment_s)
                await servers[who].kill()
                await watching
                assert seen.video == expected, moment_s
                assert await running.pool.free_slots() == (1_000, 1_000)

    in_virtual_time(scenario)


def test_the_only_worker_dies_at_any_moment_and_comes_back(expected: Sequence[bytes]) -> None:
    async def scenario() -> None:
        for moment_s in MOMENTS_S:
            async with virtual_suite(SLOW) as (running, servers):
                made = await running.stub.CreateSession(creation())
                call, _ = await opened(running.stub, made.session.session_id)
                await send(call, VOICE, 0)
                await finish(call)
                seen = await watch(call, Watcher(), lambda w: len(w.chunks) == 1)
                watching = asyncio.create_task(watch(call, seen))
                await pass_time(moment_s)
                await servers[0].kill()
                await pass_time(0.5)
                servers[0] = await servers[0].again()
                await watching
                assert seen.video == expected, moment_s
                assert sum(chunk.retries for chunk in seen.chunks) > 0

    in_virtual_time(scenario)


def test_no_worker_for_too_long_ends_the_stream_and_keeps_the_session(
    expected: Sequence[bytes],
) -> None:
    limit_s = 15.0

    async def scenario() -> None:
        async with virtual_suite(SLOW, chunk_timeout_s=limit_s) as (running, servers):
            made = await running.stub.CreateSession(creation())
            name = made.session.session_id
            call, _ = await opened(running.stub, name)
            await send(call, VOICE, 0)
            await finish(call)
            seen = await watch(call, Watcher(), lambda w: w.next_frame == 40)
            await servers[0].kill()
            begun_s = asyncio.get_running_loop().time()
            with pytest.raises(grpc.aio.AioRpcError) as lost:
                await watch(call, seen)
            assert lost.value.code() is grpc.StatusCode.UNAVAILABLE
            assert reason_of(lost.value) is Reason.NO_WORKER
            # Counted from the beginning of the stage; the last pause between attempts is 1 s.
            took_s = asyncio.get_running_loop().time() - begun_s
            assert limit_s - SLOW.chunk_s <= took_s <= limit_s + 1.0
            servers[0] = await servers[0].again()
            call, opening = await opened(running.stub, name, resume=seen.next_frame)
            await rest(call, seen, opening.input_samples)
            assert seen.video == expected

    in_virtual_time(scenario)


def test_a_client_that_comes_back_at_any_frame_gets_what_it_missed(
    expected: Sequence[bytes],
) -> None:
    async def scenario() -> None:
        async with virtual_suite(SLOW) as (running, _):
            for frame in [*range(1, len(expected), 9), 27, 28, 29]:
                made = await running.stub.CreateSession(creation())
                name = made.session.session_id
                call, _ = await opened(running.stub, name)
                await send(call, VOICE, 0)
                seen = await watch(call, Watcher(), lambda w, frame=frame: w.next_frame == frame)  # type: ignore[misc]
                call.cancel()
                call, opening = await opened(running.stub, name, resume=frame)
                assert opening.next_frame == frame
                await rest(call, seen, opening.input_samples)
                assert seen.video == expected, frame
                np.testing.assert_array_equal(seen.sound[: len(VOICE)], VOICE)

    in_virtual_time(scenario)


def test_another_gateway_takes_the_session_over_at_any_frame(expected: Sequence[bytes]) -> None:
    async def scenario() -> None:
        network, store = Network(), memory_store()
        worker = await StandInServer.start(SLOW, transport=network)
        for frame in [0, *range(1, len(expected), 9), 27, 28, 29]:
            async with (
                gateway(worker.target, store, owner="one", transport=network) as first,
                gateway(worker.target, store, owner="two", transport=network) as second,
            ):
                made = await first.stub.CreateSession(creation())
                name = made.session.session_id
                call, _ = await opened(first.stub, name)
                await send(call, VOICE, 0)
                seen = await watch(call, Watcher(), lambda w, frame=frame: w.next_frame == frame)  # type: ignore[misc]
                await first.kill()
                call, opening = await opened(second.stub, name, resume=frame)
                await rest(call, seen, opening.input_samples)
                assert seen.video == expected, frame
        await worker.kill()

    in_virtual_time(scenario)


def test_a_session_whose_gateway_fell_silent_can_be_claimed_once_its_time_is_up() -> None:
    """Without a word, as after a power cut: no release, and no heartbeat any more."""

    async def scenario() -> None:
        loop, network = asyncio.get_running_loop(), Network()
        store = MemoryStore(StoreLimits(owner_timeout_s=3.0), now_s=loop.time)
        worker = await StandInServer.start(SLOW, transport=network)
        async with gateway(worker.target, store, owner="two", transport=network) as second:
            made = await second.stub.CreateSession(creation())
            name = made.session.session_id
            await store.claim(name, "one", replace=False)
            await pass_time(2.99)
            with pytest.raises(grpc.aio.AioRpcError) as busy:
                await opened(second.stub, name)
            assert reason_of(busy.value) is Reason.SESSION_BUSY
            await pass_time(0.01)
            call, _ = await opened(second.stub, name)
            await rest(call, Watcher(), 0)
        await worker.kill()

    in_virtual_time(scenario)


def test_a_gateway_that_drains_hands_its_streams_over_at_a_border(
    expected: Sequence[bytes],
) -> None:
    async def scenario() -> None:
        network, store = Network(), memory_store()
        worker = await StandInServer.start(SLOW, transport=network)
        async with (
            gateway(worker.target, store, owner="one", transport=network) as first,
            gateway(worker.target, store, owner="two", transport=network) as second,
        ):
            made = await first.stub.CreateSession(creation())
            name = made.session.session_id
            call, _ = await opened(first.stub, name)
            await send(call, VOICE, 0)
            seen = await watch(call, Watcher(), lambda w: w.next_frame == 35)
            draining = asyncio.create_task(first.host.drain())
            await watch(call, seen)
            await draining
            assert seen.away
            assert seen.next_frame == 56
            seen.closed = None
            call, opening = await opened(second.stub, name, resume=seen.next_frame)
            await rest(call, seen, opening.input_samples)
            assert seen.video == expected
        await worker.kill()

    in_virtual_time(scenario)


def test_a_live_stream_comes_through_the_loss_of_a_worker() -> None:
    """With another worker at hand, and time to spare, the viewer sees nothing of it."""

    async def scenario() -> None:
        async with virtual_suite(SLOW, workers=2, send_ahead_s=1.0) as (running, servers):
            call, _, seen = await talking(running.stub, idle_policy=pb.IDLE_POLICY_WAIT)
            await send(call, VOICE, 0)
            await finish(call)
            await watch(call, seen, lambda w: w.next_frame == 40)
            await servers[0].kill()
            await watch(call, seen)
            assert len(seen.video) == -(-len(VOICE) // 640)
            assert isinstance(seen, TimedWatcher)
            seen.check_pace(1.0)

    in_virtual_time(scenario)
