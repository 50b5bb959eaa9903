"""New prompts in real time: frames keep their pace while a prompt is encoded, however slowly."""

from __future__ import annotations

import asyncio

import pytest

from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2
from tests.fakes.stand_in_workers import StandIn
from tests.fakes.virtual_suite import in_virtual_time, speak, talking, virtual_suite
from tests.fakes.virtual_time import pass_time
from tests.integration.gateway.suite import SPEC, speech, watch

CHUNK = SPEC.new_samples
CHUNK_S = CHUNK / SPEC.pcm_hz
SLOW = StandIn(audio_s=0.02, denoise_s=0.5, decode_s=0.15, motion_s=0.01)
Updated = stream_pb2.PromptUpdated


@pytest.mark.parametrize("policy", [pb.IDLE_POLICY_MODEL, pb.IDLE_POLICY_HOLD])
@pytest.mark.parametrize("encoding_s", [0.0, 0.4, 3.0])
def test_frames_keep_their_pace_while_a_prompt_is_encoded(encoding_s: float, policy: int) -> None:
    async def encode(prompt: str) -> None:
        if prompt == "a scene":
            await pass_time(encoding_s)

    async def scenario() -> None:
        async with virtual_suite(SLOW) as (running, servers):
            servers[0].workers.at_prompt = encode
            call, _, seen = await talking(running.stub, idle_policy=policy)
            speaking = asyncio.create_task(speak(call, speech(6 * CHUNK)))
            await watch(call, seen, lambda w: w.next_frame >= 30)
            sent_s = asyncio.get_running_loop().time()
            message = stream_pb2.PromptUpdate(update_id="a", prompt="a scene")
            await call.write(stream_pb2.StreamRequest(prompt_update=message))
            await watch(call, seen, lambda w: bool(w.updated))
            took_s = asyncio.get_running_loop().time() - sent_s
            # Behind the frames of the chunk that was made when the prompt was ready.
            assert encoding_s <= took_s <= encoding_s + 2 * CHUNK_S
            outcome = seen.updated[0]
            assert outcome.outcome == Updated.OUTCOME_APPLIED
            assert outcome.first_frame == seen.next_frame, "said between the chunks"
            await watch(call, seen, lambda w: w.next_frame >= 200)
            await speaking
            seen.check_pace()
            assert not sum(seen.underruns)
            call.cancel()

    in_virtual_time(scenario)


def test_while_the_clock_waits_an_update_is_taken_at_once() -> None:
    async def scenario() -> None:
        async with virtual_suite(SLOW) as (running, _):
            call, _, seen = await talking(running.stub, idle_policy=pb.IDLE_POLICY_WAIT)
            await speak(call, speech(CHUNK))
            await watch(call, seen, lambda w: len(w.chunks) == 1)
            message = stream_pb2.PromptUpdate(update_id="a", prompt="a scene")
            await call.write(stream_pb2.StreamRequest(prompt_update=message))
            await watch(call, seen, lambda w: bool(w.updated))
            assert seen.updated[0].first_frame == 28
            call.cancel()

    in_virtual_time(scenario)
