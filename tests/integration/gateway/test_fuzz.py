"""Anything at all on the public stream: a typed status or an orderly end, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flashtalk.serving.errors import Reason, reason_of
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2
from tests.fakes.in_process_grpc import Network
from tests.fakes.stand_in_workers import StandIn
from tests.fakes.virtual_time import VirtualTimeLoop, pass_time
from tests.integration.gateway.suite import (
    F32,
    SOCKETS,
    Gateway,
    creation,
    small_suite,
    speech,
    whole,
)
from tests.patience import patient, until

# Of grpc itself, on this side: a message was written to a call that had just ended.
LOCAL = "Internal error from Core"
METHOD = "/flashtalk.v1.SessionService/Stream"
VOICE = speech(2 * 17_920)
# What a client may be told; INTERNAL would be a mistake of ours.
ALLOWED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}

numbers = st.one_of(st.integers(0, 70), st.sampled_from([0, 2**31, 2**63, 2**64 - 1]))
opens = st.fixed_dictionaries(
    {
        "sample_rate_hz": st.sampled_from([16_000, 16_000, 16_000, 8_000, 0, 2**32 - 1]),
        "channels": st.sampled_from([1, 1, 1, 0, 2]),
        "audio_encoding": st.sampled_from([0, 1, F32, F32, 9]),
        "resume_frame": st.one_of(st.none(), numbers),
    }
)
messages = st.one_of(
    st.tuples(st.just("open"), opens),
    st.tuples(st.just("audio"), st.tuples(st.integers(0, 40_000), st.booleans(), numbers)),
    st.tuples(st.just("bytes"), st.binary(max_size=60)),
    st.tuples(st.just("interrupt"), st.tuples(st.text(max_size=80), st.one_of(st.none(), numbers))),
    st.tuples(st.just("prompt"), st.tuples(st.text(max_size=80), st.text(max_size=80))),
    st.tuples(st.sampled_from(["end", "finish", "empty", "strange session"]), st.none()),
    st.tuples(st.just("wait"), st.integers(0, 50)),
)


class Fuzzer:
    """One client with no manners."""

    def __init__(self, running: Gateway) -> None:
        self.running = running
        self.position = 0

    async def talk(self, script: list[tuple[str, Any]], end: str) -> grpc.StatusCode:
        """Sends a script on a new session; gives the status that it ends with."""
        made = await self.running.stub.CreateSession(creation())
        name = made.session.session_id
        self.position = 0
        call = self.running.channel.stream_stream(
            METHOD,
            request_serializer=bytes,
            response_deserializer=stream_pb2.StreamResponse.FromString,
        )(timeout=patient(60))
        reading = asyncio.create_task(self.read(call))
        try:
            for kind, value in script:
                if kind == "wait":
                    await self.wait(value)
                else:
                    await call.write(self.message(name, kind, value))
            if end == "cancel":
                call.cancel()
            else:
                await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # it ended before the script did
        except asyncio.CancelledError:
            if not call.cancelled():
                raise
        await reading
        code: grpc.StatusCode = await call.code()
        if code is grpc.StatusCode.INTERNAL and await call.details() == LOCAL:
            code = grpc.StatusCode.CANCELLED
        if code not in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED):
            with contextlib.suppress(asyncio.CancelledError):
                error = grpc.aio.AioRpcError(
                    code, await call.initial_metadata(), await call.trailing_metadata()
                )
                assert code is grpc.StatusCode.DEADLINE_EXCEEDED or reason_of(error) is not None
                assert reason_of(error) is not Reason.INTERNAL
        with contextlib.suppress(grpc.aio.AioRpcError):
            await self.running.stub.DeleteSession(pb.DeleteSessionRequest(session_id=name))
        return code

    async def wait(self, turns: int) -> None:
        """Lets the gateway get on with it: a while, or so many turns of the loop."""
        if isinstance(asyncio.get_running_loop(), VirtualTimeLoop):
            await pass_time(turns / 20)
            return
        for _ in range(turns):
            await asyncio.sleep(0)

    async def read(self, call: Any) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
            while await call.read() is not grpc.aio.EOF:
                pass

    def message(self, name: str, kind: str, value: Any) -> bytes:
        request = stream_pb2.StreamRequest()
        if kind == "bytes":
            return bytes(value)
        if kind in ("open", "strange session"):
            fields = value or {"sample_rate_hz": 16_000, "channels": 1}
            request.open.CopyFrom(stream_pb2.StreamOpen(session_id=name, **fields))
            if kind == "strange session":
                request.open.session_id = "nobody's"
        elif kind == "audio":
            samples, follows, first = value
            pcm_S = np.resize(VOICE, samples)
            if first == 7:
                pcm_S = np.full(max(samples, 1), np.nan, np.float32)
            request.audio.pcm = pcm_S.tobytes()
            request.audio.first_sample = self.position if follows else first
            self.position += samples
        elif kind == "interrupt":
            text, played = value
            request.interrupt.CopyFrom(
                stream_pb2.Interrupt(interrupt_id=text, played_frames=played)
            )
        elif kind == "prompt":
            name, prompt = value
            request.prompt_update.CopyFrom(stream_pb2.PromptUpdate(update_id=name, prompt=prompt))
        elif kind == "end":
            request.end_of_audio.SetInParent()
        elif kind == "finish":
            request.finish.SetInParent()
        return request.SerializeToString()


async def settled(running: Gateway) -> None:
    """Waits until no stream is open any more."""
    await until(lambda: not running.host.open_streams)


async def tasks_are(tasks: int) -> None:
    """Waits until no more are left, this one apart."""
    await until(lambda: len(asyncio.all_tasks()) - 1 <= tasks)


@pytest.mark.parametrize("virtual", [False, True])
def test_nothing_that_a_client_sends_breaks_the_gateway(virtual: bool) -> None:
    """Over sockets, and in virtual time, where the gateway works while the client waits."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop if virtual else None) as runner:
        stand_in = StandIn(audio_s=0.02, denoise_s=0.5, decode_s=0.15) if virtual else StandIn()
        suite = small_suite(stand_in, transport=Network() if virtual else SOCKETS)
        running, _ = runner.run(suite.__aenter__())
        expected = runner.run(whole(running.stub, creation(), VOICE)).video
        runner.run(settled(running))
        tasks = len(asyncio.all_tasks(runner.get_loop()))

        @given(
            st.lists(messages, max_size=8),
            st.booleans(),
            st.sampled_from(["cancel", "done"]),
        )
        @settings(
            max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        def example(script: list[tuple[str, Any]], proper: bool, end: str) -> None:
            if proper:
                first = {"sample_rate_hz": 16_000, "channels": 1, "audio_encoding": F32}
                script = [("open", first), *script]
            code = runner.run(Fuzzer(running).talk(script, end))
            assert code in ALLOWED, code

        try:
            example()
            runner.run(settled(running))
            assert runner.run(whole(running.stub, creation(), VOICE)).video == expected
            runner.run(settled(running))
            runner.run(tasks_are(tasks))
            assert runner.run(running.pool.free_slots()) == (1_000, 1_000)
        finally:
            runner.run(suite.__aexit__(None, None, None))
