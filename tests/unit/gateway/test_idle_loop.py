"""Idle loops in virtual time: what is computed, what is played, and what follows it."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import numpy as np
import pytest

from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.wire import tensor_from_proto
from services.gateway.settings import GatewaySettings
from tests.fakes.in_process_grpc import Network
from tests.fakes.stand_in_workers import StandIn
from tests.fakes.virtual_suite import TimedWatcher, in_virtual_time, speak, talking, virtual_suite
from tests.fakes.virtual_time import pass_time
from tests.integration.gateway.suite import (
    SPEC,
    StandInServer,
    gateway,
    memory_store,
    opened,
    speech,
    watch,
)

CHUNK, FRAMES = SPEC.new_samples, SPEC.new_frames
SLOW = StandIn(audio_s=0.02, denoise_s=0.5, decode_s=0.15, motion_s=0.01)
LOOP = {
    "idle_policy": pb.IDLE_POLICY_LOOP,
    "video_codec": media_pb2.VIDEO_CODEC_RAW_RGB24,
}
MADE = GatewaySettings().idle_loop_chunks
SETTLED = 1
"""Chunks after speech, or at the beginning, that are not part of the loop."""


def chunks_of(seen: TimedWatcher) -> list[list[bytes]]:
    whole = len(seen.video) // FRAMES
    return [seen.video[n * FRAMES :][:FRAMES] for n in range(whole)]


def ping_pong(made: list[list[bytes]], count: int) -> list[list[bytes]]:
    """So many chunks of a loop after it was made: backward, then forward, and so on."""
    turn = [chunk[::-1] for chunk in reversed(made)] + made
    return [turn[n % len(turn)] for n in range(count)]


async def interrupt(call: Any, played: int) -> None:
    message = stream_pb2.Interrupt(interrupt_id="stop", played_frames=played)
    await call.write(stream_pb2.StreamRequest(interrupt=message))


@pytest.mark.parametrize("made", [1, 2, 3])
@pytest.mark.parametrize("kept_bytes", [0, 8 * 2**20])
def test_a_pause_costs_a_few_chunks_however_long_it_is(made: int, kept_bytes: int) -> None:
    async def scenario() -> None:
        given = {"idle_loop_chunks": made, "idle_loop_bytes": kept_bytes}
        async with virtual_suite(SLOW, **given) as (running, servers):
            call, _, seen = await talking(running.stub, **LOOP)
            await watch(call, seen, lambda w: w.next_frame >= 14 * FRAMES)
            begin = SETTLED + made
            assert servers[0].workers.denoised == list(range(begin))
            shown = chunks_of(seen)
            assert shown[begin:] == ping_pong(shown[SETTLED:begin], 14 - begin)
            seen.check_pace()
            assert not np.any(seen.sound)
            assert {kind for kind, _ in seen.activities} == {stream_pb2.Activity.KIND_IDLE}
            call.cancel()

    in_virtual_time(scenario)


@pytest.mark.parametrize("before", [4, 5, 6, 7])
def test_speech_goes_on_from_the_last_picture_and_the_next_pause_has_a_loop_of_its_own(
    before: int,
) -> None:
    async def scenario() -> None:
        async with virtual_suite(SLOW) as (running, servers):
            call, name, seen = await talking(running.stub, **LOOP)
            await watch(call, seen, lambda w: w.next_frame >= before * FRAMES)
            record = (await running.store.load(name)).state
            newest = record.history[-1]
            assert newest.plan.loop_chunk
            # Motion latents for the picture that was shown last.
            frames = 1 if newest.plan.backward else FRAMES
            motion_z = await motion(servers[0], newest.latents, frames)
            np.testing.assert_array_equal(record.motion_z, motion_z)
            made = len(servers[0].workers.denoised)
            speaking = asyncio.create_task(speak(call, speech(2 * CHUNK)))
            await watch(call, seen, lambda w: w.next_frame >= (before + 12) * FRAMES)
            await speaking
            seen.check_pace()
            assert not seen.underruns
            # The speech, and then as at the beginning.
            spoken = servers[0].workers.denoised[made:]
            assert spoken == list(range(spoken[0], spoken[0] + len(spoken)))
            assert 2 + SETTLED + MADE <= len(spoken) <= 3 + SETTLED + MADE
            end = spoken[-1] + 1
            shown = chunks_of(seen)
            assert shown[end:] == ping_pong(shown[end - MADE : end], len(shown) - end)
            call.cancel()

    in_virtual_time(scenario)


async def motion(server: StandInServer, latents: Any, frames: int) -> Any:
    digest = hashlib.sha256(np.ascontiguousarray(latents).tobytes()).digest()
    made = server.workers.stand_in.latent(2, digest, frames.to_bytes(4, "little"))
    return tensor_from_proto(made, field="motion", shape=[None] * 5)


@pytest.mark.parametrize("at", [3 * FRAMES + 1, 3 * FRAMES + 9, 5 * FRAMES + 9, 6 * FRAMES])
def test_an_interruption_inside_the_loop_is_a_cut_like_any_other(at: int) -> None:
    async def scenario() -> None:
        async with virtual_suite(SLOW) as (running, servers):
            call, _, seen = await talking(running.stub, **LOOP)
            await watch(call, seen, lambda w: w.next_frame >= at)
            made = len(servers[0].workers.denoised)
            await interrupt(call, at)
            await watch(call, seen, lambda w: bool(w.interrupted))
            assert seen.interrupted[0].played_frames == at
            begin = len(seen.video)
            await watch(call, seen, lambda w: w.next_frame >= at + 8 * FRAMES)
            # A new loop: of the idle chunks that follow the cut.
            again = servers[0].workers.denoised[made:]
            after = [seen.video[begin + n * FRAMES :][:FRAMES] for n in range(8)]
            first = len(again) - MADE
            assert 0 <= first <= SETTLED
            assert after[len(again) :] == ping_pong(after[first : len(again)], 8 - len(again))
            call.cancel()

    in_virtual_time(scenario)


@pytest.mark.parametrize("frame", [70, 90, 113, 150, 200])
def test_another_gateway_plays_the_same_pictures(frame: int) -> None:
    async def watched(lost: bool) -> list[bytes]:
        network = Network()
        worker = await StandInServer.start(SLOW, transport=network)
        store = memory_store()
        async with gateway(worker.target, store, owner="one", transport=network) as first:
            call, name, seen = await talking(first.stub, **LOOP)
            await watch(call, seen, lambda w: w.next_frame >= frame)
            if lost:
                await first.kill()
                async with gateway(worker.target, store, owner="two", transport=network) as second:
                    call, _ = await opened(second.stub, name, resume=frame)
                    await watch(call, seen, lambda w: w.next_frame >= 10 * FRAMES)
                    call.cancel()
                    await pass_time(1)
            else:
                await watch(call, seen, lambda w: w.next_frame >= 10 * FRAMES)
                call.cancel()
                await pass_time(1)
        await worker.kill()
        return seen.video[: 10 * FRAMES]

    async def scenario() -> None:
        assert await watched(lost=True) == await watched(lost=False)

    in_virtual_time(scenario)


@pytest.mark.parametrize("back", [1, 30, 80])
def test_a_client_that_comes_back_gets_the_pictures_that_it_missed(back: int) -> None:
    async def scenario() -> None:
        async with virtual_suite(SLOW) as (running, _):
            call, name, seen = await talking(running.stub, **LOOP)
            await watch(call, seen, lambda w: w.next_frame >= 8 * FRAMES)
            call.cancel()
            await pass_time(0.5)
            again = TimedWatcher(next_frame=8 * FRAMES - back)
            call, _ = await opened(running.stub, name, resume=8 * FRAMES - back)
            await watch(call, again, lambda w: w.next_frame >= 8 * FRAMES)
            assert again.video[:back] == seen.video[-back:]
            call.cancel()

    in_virtual_time(scenario)


def test_a_new_prompt_is_seen_in_a_pause() -> None:
    async def scenario() -> None:
        async with virtual_suite(SLOW) as (running, servers):
            call, _, seen = await talking(running.stub, **LOOP)
            await watch(call, seen, lambda w: w.next_frame >= 5 * FRAMES)
            made = len(servers[0].workers.denoised)
            message = stream_pb2.PromptUpdate(update_id="a", prompt="a scene")
            await call.write(stream_pb2.StreamRequest(prompt_update=message))
            await watch(call, seen, lambda w: bool(w.updated))
            first = seen.updated[0].first_frame
            await watch(call, seen, lambda w: w.next_frame >= first + 8 * FRAMES)
            assert servers[0].workers.denoised[made] == first // FRAMES
            assert len(servers[0].workers.denoised) == made + MADE
            shown = chunks_of(seen)[first // FRAMES :]
            assert shown[MADE:] == ping_pong(shown[:MADE], len(shown) - MADE)
            call.cancel()

    in_virtual_time(scenario)


def test_other_policies_have_no_loop() -> None:
    async def scenario() -> None:
        async with virtual_suite(SLOW) as (running, servers):
            call, name, seen = await talking(running.stub)
            await watch(call, seen, lambda w: w.next_frame >= 6 * FRAMES)
            assert len(servers[0].workers.denoised) >= 6
            assert (await running.store.load(name)).state.loop == ()
            call.cancel()
            await asyncio.sleep(0)

    in_virtual_time(scenario)
