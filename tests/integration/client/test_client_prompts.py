"""New prompts through the Python client: answers, refusals, lost connections."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from flashtalk.client import ClientError, Event, SessionStream
from flashtalk.v1 import stream_pb2
from flashtalk.wire.status import Reason
from tests.integration.client.test_client import CHUNK, FILE, VOICE, frames_of, said, suite
from tests.integration.gateway.suite import held_at, portrait, run
from tests.patience import until

Updated = stream_pb2.PromptUpdated
SECOND = "somebody sings in the rain"


async def read(stream: SessionStream, events: list[Event]) -> None:
    async for event in stream:
        events.append(event)


def updates(events: list[Event]) -> list[Updated]:
    return [event for event in events if isinstance(event, Updated)]


def test_an_update_is_acknowledged_with_its_first_frame() -> None:
    async def scenario() -> None:
        async with suite() as running, running.client() as client:
            plain = await said(client, VOICE)
            gate = held_at([running.worker], "audio", 2)
            session = await client.create_session(portrait(), seed=7, **FILE)
            events: list[Event] = []
            async with client.stream(session) as stream:
                reading = asyncio.create_task(read(stream, events))
                await stream.push_audio(VOICE)
                await gate.reached.wait()
                first = asyncio.create_task(stream.update_prompt("never used"))
                await until(lambda: bool(running.gateways[0].host.open_streams))
                with pytest.raises(ClientError) as refused:
                    await stream.update_prompt("x" * 2_001)
                second = asyncio.create_task(stream.update_prompt(SECOND))
                assert (await first).outcome == Updated.OUTCOME_SUPERSEDED
                gate.open()
                answer = await second
                await stream.finish()
                await reading
            assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
            assert refused.value.reason is Reason.INVALID_FIELD
            assert answer.outcome == Updated.OUTCOME_APPLIED
            assert answer.first_frame % 28 == 0
            assert answer in updates(events)
            got = [frame.video for frame in frames_of(events)]
            differs = [a != b for a, b in zip(got, plain, strict=True)]
            assert differs == [index >= answer.first_frame for index in range(len(plain))]

    run(scenario)


@pytest.mark.parametrize("lost_at", [("audio", 2), ("half", 3), ("audio", 4)])
def test_a_lost_gateway_loses_no_update_and_doubles_none(lost_at: tuple[str, int]) -> None:
    async def scenario() -> None:
        async with suite(gateways=2) as running, running.client() as client:
            plain = await said(client, VOICE)
            first = held_at([running.worker], "audio", 2)
            session = await client.create_session(portrait(), seed=7, **FILE)
            events: list[Event] = []
            async with client.stream(session) as stream:
                reading = asyncio.create_task(read(stream, events))
                await stream.push_audio(VOICE[: 5 * CHUNK])
                await first.reached.wait()
                updating = asyncio.create_task(stream.update_prompt(SECOND))
                host = running.gateways[0].host
                await until(lambda: any(each.prompts.ready for each in host._open))
                gate = held_at([running.worker], *lost_at)
                first.open()
                await gate.reached.wait()
                await running.gateways[0].kill()
                await until(lambda: stream.reconnects > 0)
                gate.open()
                answer = await updating
                await stream.push_audio(VOICE[5 * CHUNK :])
                await stream.finish()
                await reading
            assert answer.outcome == Updated.OUTCOME_APPLIED
            assert updates(events) == [answer], "one acknowledgement reaches the caller"
            assert answer.first_frame >= 84
            got = [frame.video for frame in frames_of(events)]
            differs = [a != b for a, b in zip(got, plain, strict=True)]
            assert differs == [index >= answer.first_frame for index in range(len(plain))]

    run(scenario)
