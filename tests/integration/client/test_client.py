"""The client against real gateways with stand-in workers: faults that its caller never sees."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from flashtalk.cli.main import main
from flashtalk.client import ClientError, Event, FlashTalkClient, SessionStream
from flashtalk.errors import InputError
from flashtalk.streaming import Pcm
from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.wire import pcm_from_bytes
from flashtalk.wire.status import Reason
from tests.fakes.stand_in_workers import StandIn
from tests.integration.gateway.suite import (
    SPEC,
    Gateway,
    StandInServer,
    gateway,
    held_after,
    held_at,
    memory_store,
    portrait,
    run,
    speech,
)
from tests.patience import patient, until

CHUNK = SPEC.new_samples
VOICE = speech(5 * CHUNK + 3_000)
LAST_CHUNK = 5
FILE: dict[str, Any] = {
    "video_codec": media_pb2.VIDEO_CODEC_RAW_RGB24,
    "idle_policy": pb.IDLE_POLICY_WAIT,
    "pacing": pb.PACING_UNLIMITED,
}


@dataclass
class Deployment:
    """Gateways on one store and one worker."""

    gateways: list[Gateway]
    worker: StandInServer

    def client(self) -> FlashTalkClient:
        """For all of its gateways."""
        return FlashTalkClient(targets(self.gateways), patience_s=patient(60))


@contextlib.asynccontextmanager
async def suite(gateways: int = 1) -> AsyncIterator[Deployment]:
    worker, store = await StandInServer.start(StandIn()), memory_store()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(worker.kill)
        running = [
            await stack.enter_async_context(gateway(worker.target, store, owner=f"g{number}"))
            for number in range(gateways)
        ]
        yield Deployment(running, worker)


def targets(running: list[Gateway]) -> str:
    return ",".join(f"127.0.0.1:{each.port}" for each in running)


async def said(client: FlashTalkClient, pcm_S: Pcm) -> list[bytes]:
    """The frames of an undisturbed session."""
    session = await client.create_session(portrait(), seed=7, **FILE)
    async with client.stream(session) as stream:
        await stream.push_audio(pcm_S)
        await stream.finish()
        return [e.video async for e in stream if isinstance(e, stream_pb2.Frame)]


def frames_of(events: list[Event]) -> list[stream_pb2.Frame]:
    return [event for event in events if isinstance(event, stream_pb2.Frame)]


async def collect(
    stream: SessionStream, events: list[Event], until: Callable[[list[Event]], bool]
) -> None:
    while not until(events):
        events.append(await anext(stream))


def test_a_session_from_its_portrait_to_its_last_frame() -> None:
    async def scenario() -> None:
        async with suite() as running, running.client() as client:
            session = await client.create_session(portrait(), **FILE)
            assert [s.session_id async for s in client.sessions()] == [session.session_id]
            events: list[Event] = []
            async with client.stream(session) as stream:
                speaking = asyncio.create_task(stream.push_audio(VOICE))
                await collect(stream, events, lambda e: len(frames_of(e)) == 20)
                await speaking
                await stream.finish()
                events += [event async for event in stream]
            frames = frames_of(events)
            assert [f.frame_index for f in frames] == list(range(-(-len(VOICE) // 640)))
            pcm_S = np.concatenate(
                [pcm_from_bytes(f.pcm, media_pb2.AUDIO_ENCODING_PCM_F32LE, "pcm") for f in frames]
            )
            np.testing.assert_array_equal(pcm_S[: len(VOICE)], VOICE)
            assert isinstance(events[-1], stream_pb2.StreamClosed)
            assert stream.reconnects == 0
            with pytest.raises(ClientError) as gone:
                await client.get_session(session.session_id)
            assert gone.value.code is grpc.StatusCode.NOT_FOUND
            assert gone.value.reason is Reason.SESSION_GONE

    run(scenario)


@pytest.mark.parametrize("frame", [0, 1, 29, 75, 140])
def test_a_gateway_dies_and_the_caller_sees_nothing_of_it(frame: int) -> None:
    async def scenario() -> None:
        async with suite(2) as running, running.client() as client:
            expected = await said(client, VOICE)
            session = await client.create_session(portrait(), seed=7, **FILE)
            events: list[Event] = []
            gate = held_at([running.worker], "audio", min(frame // 28 + 2, LAST_CHUNK))
            async with client.stream(session) as stream:
                await stream.push_audio(VOICE)
                await stream.finish()
                await collect(stream, events, lambda e: len(frames_of(e)) >= frame)
                await running.gateways[0].kill()
                gate.open()
                events += [event async for event in stream]
            assert [f.video for f in frames_of(events)] == expected
            assert stream.reconnects >= 1

    run(scenario)


def test_a_draining_gateway_hands_over_to_the_next() -> None:
    async def scenario() -> None:
        async with suite(2) as running, running.client() as client:
            expected = await said(client, VOICE)
            session = await client.create_session(portrait(), seed=7, **FILE)
            events: list[Event] = []
            gate = held_at([running.worker], "half", 1)
            async with client.stream(session) as stream:
                await stream.push_audio(VOICE)
                await stream.finish()
                await collect(stream, events, lambda e: len(frames_of(e)) >= 30)
                draining = asyncio.create_task(running.gateways[0].host.drain())
                await until(lambda: running.gateways[0].host.draining)
                gate.open()
                events += [event async for event in stream]
                await draining
            assert [f.video for f in frames_of(events)] == expected
            assert stream.reconnects == 1

    run(scenario)


def test_an_interruption_is_answered_while_events_go_on() -> None:
    async def scenario() -> None:
        async with suite() as running, running.client() as client:
            session = await client.create_session(portrait(), **FILE)
            held_after([running.worker], 40)  # what follows the interruption does not come to this
            async with client.stream(session) as stream:
                await stream.push_audio(VOICE)
                events: list[Event] = []
                await collect(stream, events, lambda e: len(frames_of(e)) == 40)

                async def rest() -> None:
                    async for event in stream:
                        events.append(event)

                reading = asyncio.create_task(rest())
                outcome = await stream.interrupt(played_frames=35)
                assert outcome.played_frames == 35
                assert outcome.dropped_samples == len(VOICE) - 35 * 640
                await stream.push_audio(VOICE[:CHUNK])
                await stream.finish()
                await reading
            new = [f for f in frames_of(events) if f.epoch == 1]
            assert [f.frame_index for f in new] == list(range(35, 63))

    run(scenario)


def test_an_interruption_in_flight_when_the_gateway_dies_is_carried_out_once() -> None:
    async def scenario() -> None:
        async with suite(2) as running, running.client() as client:
            session = await client.create_session(portrait(), **FILE)
            held_after([running.worker], 40)  # what follows the interruption does not come to this
            async with client.stream(session) as stream:
                await stream.push_audio(VOICE)
                events: list[Event] = []
                await collect(stream, events, lambda e: len(frames_of(e)) == 40)
                await running.gateways[0].kill()
                interrupting = asyncio.create_task(stream.interrupt(played_frames=35))
                await asyncio.sleep(0)

                async def rest() -> None:
                    async for event in stream:
                        events.append(event)

                reading = asyncio.create_task(rest())
                outcome = await interrupting
                assert (outcome.played_frames, outcome.epoch) == (35, 1)
                await stream.finish()
                await reading
            assert sum(isinstance(e, stream_pb2.Interrupted) for e in events) == 1

    run(scenario)


def test_what_cannot_work_is_said_at_once() -> None:
    async def scenario() -> None:
        async with suite() as running:
            async with running.client() as client:
                with pytest.raises(ClientError) as refused:
                    await client.create_session(b"not a picture")
                assert refused.value.field == "portrait"
                with pytest.raises(InputError, match="image"):
                    await client.create_session(Path("no such file.png"))
                session = await client.create_session(portrait(), **FILE)
                async with client.stream(session) as stream:
                    with pytest.raises(InputError, match="one channel"):
                        await stream.push_audio(np.zeros((3, 2), np.float32))
                    with pytest.raises(TypeError, match="numpy array, list"):
                        await stream.push_audio(None)  # type: ignore[arg-type]
                    with pytest.raises(InputError, match="NaN"):
                        await stream.push_audio(np.array([np.nan], np.float32))
                    await stream.push_audio(np.zeros(10, np.int16))
                    await stream.finish()
                    with pytest.raises(InputError, match="after finish"):
                        await stream.push_audio(np.zeros(3, np.float32))
            async with FlashTalkClient("127.0.0.1:1", patience_s=0.5) as nobody:
                with pytest.raises(ClientError) as away:
                    await nobody.create_session(portrait())
                assert away.value.code is grpc.StatusCode.UNAVAILABLE
                async with nobody.stream(session) as stream:
                    with pytest.raises(ClientError):
                        await anext(stream)
        with pytest.raises(InputError, match="gateway"):
            FlashTalkClient(" , ")

    run(scenario)


def test_a_failure_inside_the_client_reaches_whoever_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(self: SessionStream, response: object) -> bool:
        raise RuntimeError("a mistake of ours")

    async def scenario() -> None:
        async with suite() as running, running.client() as client:
            session = await client.create_session(portrait(), **FILE)
            monkeypatch.setattr(SessionStream, "_take", broken)
            async with client.stream(session) as stream:
                await stream.push_audio(VOICE)
                with pytest.raises(ClientError, match="a mistake of ours"):
                    await anext(stream)

    run(scenario)


def test_a_full_deployment_says_when_to_come_again() -> None:
    async def scenario() -> None:
        worker, store = await StandInServer.start(StandIn(slots=1)), memory_store()
        try:
            async with (
                gateway(worker.target, store) as running,
                FlashTalkClient(targets([running])) as client,
            ):
                first = await client.create_session(portrait(), **FILE)
                with pytest.raises(ClientError) as full:
                    await client.create_session(portrait(), **FILE)
                assert full.value.reason is Reason.NO_SLOT
                assert full.value.retry_after_s is not None
                await client.delete_session(first.session_id)
                await client.create_session(portrait(), **FILE)
        finally:
            await worker.kill()

    run(scenario)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gateway", ""], "gateway"),
        (["--seed", "-1"], "seed"),
        (["--size", "9"], "size"),
        (["--image", "missing.png"], "image"),
        (["--audio", "missing.wav"], "audio"),
        (["--out", "out.avi"], "out"),
        (["--patience", "0"], "patience"),
    ],
)
def test_talk_says_what_is_wrong_in_one_line(
    options: list[str],
    message: str,
    repo_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = {
        "--gateway": "127.0.0.1:1",
        "--image": str(repo_root / "examples/portrait.png"),
        "--audio": str(repo_root / "examples/speech.wav"),
        "--out": str(tmp_path / "a.mp4"),
        "--patience": "0.2",
    }
    given |= dict(zip(options[::2], options[1::2], strict=True))
    words = ["talk", *(word for pair in given.items() for word in pair)]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
