"""Real servers and calls: what a client sees of errors, limits, health and traces."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import REGISTRY

from flashtalk.errors import InputError
from flashtalk.serving.channel import ChannelLimits, open_channel
from flashtalk.serving.errors import Reason, ServiceError, field_of, reason_of, retry_after_s
from flashtalk.serving.server import serve
from flashtalk.serving.settings import ServiceSettings
from flashtalk.serving.tracing import span, trace_id
from flashtalk.v1 import audio_encoder_service_pb2 as audio_pb2
from flashtalk.v1 import audio_encoder_service_pb2_grpc as audio_grpc
from flashtalk.v1 import session_service_pb2 as session_pb2
from flashtalk.v1 import session_service_pb2_grpc as session_grpc
from flashtalk.v1 import stream_pb2, worker_pb2
from flashtalk.v1 import vae_decoder_service_pb2 as vae_pb2
from flashtalk.v1 import vae_decoder_service_pb2_grpc as vae_grpc
from flashtalk.wire import tensor_to_proto
from tests.patience import patient, until, until_true

Behaviour = Callable[..., Awaitable[Any]]
SECRET = "the password is swordfish"
CALL_S = patient(60)
"""A guard against hanging."""


class Doubtful(
    audio_grpc.AudioEncoderServiceServicer,
    vae_grpc.VaeDecoderServiceServicer,
    session_grpc.SessionServiceServicer,
):
    """Does what the test says in a unary call, a generated stream and a written one."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.seen: list[str | None] = []
        self.ended = asyncio.Event()
        self.going = asyncio.Event()
        self.hold = asyncio.Event()

    async def Encode(self, request: audio_pb2.EncodeRequest, context: Any) -> Any:
        self.seen.append(trace_id())
        if self.error is not None:
            raise self.error
        return audio_pb2.EncodeResponse(compute_s=len(request.pcm.data))

    async def Decode(
        self, request: vae_pb2.DecodeRequest, context: Any
    ) -> AsyncIterator[vae_pb2.DecodeResponse]:
        self.seen.append(trace_id())
        try:
            for index in range(request.frames):
                frames = [vae_pb2.DecodedFrame(index=index)]
                yield vae_pb2.DecodeResponse(decoded=vae_pb2.DecodedFrames(frames=frames))
                self.going.set()
                if index == 1 and self.error is not None:
                    raise self.error
                if index == 1 and request.motion_only:
                    await self.hold.wait()
        finally:
            self.ended.set()

    async def Stream(self, request_iterator: Any, context: Any) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            if not isinstance(request, stream_pb2.StreamRequest):
                raise request.refuse()
            if self.error is not None:
                raise self.error
            await context.write(stream_pb2.StreamResponse(heartbeat=stream_pb2.Heartbeat()))


class Life:
    """Starts when it may, and remembers what it was asked."""

    def __init__(self) -> None:
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.asked: list[str] = []

    async def start(self) -> None:
        await self.may_start.wait()
        self.asked.append("start")

    async def drain(self, grace_s: float) -> None:
        self.asked.append("drain")

    async def stop(self) -> None:
        self.asked.append("stop")


async def to_the_end(call: Any) -> None:
    """Reads a stream until it ends; raises what it ends with."""
    while await call.read() is not grpc.aio.EOF:
        pass


class Served:
    """A server, its double and a channel to it."""

    def __init__(self, double: Doubtful, life: Life, task: asyncio.Task[None], port: int) -> None:
        self.double, self.life, self.task, self.port = double, life, task, port
        self.channel = open_channel(f"127.0.0.1:{port}", ChannelLimits(message_bytes=2**22))
        self.audio = audio_grpc.AudioEncoderServiceStub(self.channel)
        self.vae = vae_grpc.VaeDecoderServiceStub(self.channel)
        self.session = session_grpc.SessionServiceStub(self.channel)
        self.health: Any = health_pb2_grpc.HealthStub(self.channel)

    async def whole(self, kind: str) -> None:
        """One call of a kind, to its end."""
        if kind == "unary":
            await self.audio.Encode(audio_pb2.EncodeRequest(), timeout=CALL_S)
        elif kind == "generated":
            async for _ in self.vae.Decode(vae_pb2.DecodeRequest(frames=9), timeout=CALL_S):
                pass
        else:
            call = self.session.Stream(timeout=CALL_S)
            await call.write(stream_pb2.StreamRequest())
            await to_the_end(call)

    async def status(self, service: str = "") -> str:
        request = health_pb2.HealthCheckRequest(service=service)
        response = await self.health.Check(request, timeout=CALL_S, wait_for_ready=True)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(response.status))


@contextlib.asynccontextmanager
async def served(life: Life | None = None, **settings: Any) -> AsyncIterator[Served]:
    double, life = Doubtful(), life or Life()
    port: list[int] = []

    def register(server: grpc.aio.Server) -> Sequence[str]:
        audio_grpc.add_AudioEncoderServiceServicer_to_server(double, server)
        vae_grpc.add_VaeDecoderServiceServicer_to_server(double, server)
        session_grpc.add_SessionServiceServicer_to_server(double, server)
        # The server under test opens its own port; this one tells us a number.
        port.append(server.add_insecure_port("127.0.0.1:0"))
        return ["flashtalk.v1.AudioEncoderService"]

    known = {"host": "127.0.0.1", "message_bytes": 2**20, "drain_s": 5.0, **settings}
    task = asyncio.create_task(serve(ServiceSettings(**known), register, life))
    await until(lambda: bool(port))
    here = Served(double, life, task, port[0])
    try:
        yield here
    finally:
        await here.channel.close()
        if not task.done():
            task.cancel()
        await asyncio.wait({task}, timeout=CALL_S)
        assert task.done()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(patient(120)):
            await scenario()
        alive = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [task for task in alive if "serve" in repr(task.get_coro())]

    asyncio.run(bounded())


ERRORS: list[tuple[BaseException, grpc.StatusCode, Reason, str | None]] = [
    (
        InputError("pcm", "x" * 900, "128000 samples"),
        grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_FIELD,
        "pcm",
    ),
    (
        ServiceError(
            grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.QUEUE_FULL, "full", retry_after_s=1.5
        ),
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.QUEUE_FULL,
        None,
    ),
    (RuntimeError(SECRET), grpc.StatusCode.INTERNAL, Reason.INTERNAL, None),
    (KeyError(SECRET), grpc.StatusCode.INTERNAL, Reason.INTERNAL, None),
]


@pytest.mark.parametrize(("error", "code", "reason", "field"), ERRORS)
@pytest.mark.parametrize("kind", ["unary", "generated", "written"])
def test_errors_arrive_with_reason_and_field_and_never_with_secrets(
    kind: str, error: BaseException, code: grpc.StatusCode, reason: Reason, field: str | None
) -> None:
    async def scenario() -> None:
        async with served() as here:
            here.double.error = error
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await here.whole(kind)
            found = caught.value
            assert (found.code(), reason_of(found), field_of(found)) == (code, reason, field)
            assert len(found.details() or "") < 400
            assert "swordfish" not in str(found.details()) + repr(found.trailing_metadata())
            assert retry_after_s(found) == (1.5 if reason is Reason.QUEUE_FULL else None)
            here.double.error = None
            response = await here.audio.Encode(audio_pb2.EncodeRequest(), timeout=CALL_S)
            assert response.compute_s == 0

    run(scenario)


@pytest.mark.parametrize(
    "method", ["AudioEncoderService/Encode", "VaeDecoderService/Decode", "SessionService/Stream"]
)
def test_bytes_that_are_no_message_are_an_invalid_argument(method: str) -> None:
    async def scenario() -> None:
        async with served() as here:
            call: Any = here.channel.stream_stream(f"/flashtalk.v1.{method}")(timeout=CALL_S)
            await call.write(b"\xff\xff\xff not protobuf")
            await call.done_writing()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await to_the_end(call)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert reason_of(caught.value) is Reason.INVALID_FIELD

    run(scenario)


def test_a_message_over_the_limit_is_refused_and_the_next_one_is_not() -> None:
    async def scenario() -> None:
        async with served() as here:
            large = tensor_to_proto(np.zeros(2**19, np.float32))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await here.audio.Encode(audio_pb2.EncodeRequest(pcm=large), timeout=CALL_S)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            small = tensor_to_proto(np.zeros(2**10, np.float32))
            response = await here.audio.Encode(audio_pb2.EncodeRequest(pcm=small), timeout=CALL_S)
            assert response.compute_s == 4096

    run(scenario)


def test_health_follows_the_life_of_the_service() -> None:
    async def scenario() -> None:
        life = Life()
        life.may_start.clear()
        async with served(life) as here:
            assert await here.status() == "NOT_SERVING"
            life.may_start.set()

            async def serves() -> bool:
                return await here.status("flashtalk.v1.AudioEncoderService") == "SERVING"

            await until_true(serves)
            assert life.asked == ["start"]
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await here.status("nobody")
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert life.asked == ["start", "stop"]

    run(scenario)


def test_reflection_lists_the_services() -> None:
    async def scenario() -> None:
        async with served() as here:
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(here.channel)  # type: ignore[arg-type]
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            call = stub.ServerReflectionInfo(timeout=CALL_S, wait_for_ready=True)
            await call.write(request)
            await call.done_writing()
            response = await call.read()
            names = {service.name for service in response.list_services_response.service}
            assert {"flashtalk.v1.AudioEncoderService", "grpc.health.v1.Health"} <= names

    run(scenario)


def test_a_call_goes_on_with_the_trace_of_its_caller() -> None:
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())

    async def scenario() -> None:
        async with served() as here:
            with span("chunk"):
                expected = trace_id()
                await here.audio.Encode(
                    audio_pb2.EncodeRequest(), timeout=CALL_S, wait_for_ready=True
                )
                async for _ in here.vae.Decode(vae_pb2.DecodeRequest(frames=2), timeout=CALL_S):
                    pass
            assert expected is not None
            assert here.double.seen == [expected, expected]

    run(scenario)


def test_a_caller_that_goes_away_ends_the_stream_and_is_counted() -> None:
    async def scenario() -> None:
        async with served() as here:
            labels = {"method": "/flashtalk.v1.VaeDecoderService/Decode", "code": "CANCELLED"}
            before = REGISTRY.get_sample_value("flashtalk_rpc_handled_total", labels) or 0
            request = vae_pb2.DecodeRequest(frames=9, motion_only=True)
            call = here.vae.Decode(request, timeout=CALL_S, wait_for_ready=True)
            await call.read()
            await here.double.going.wait()
            call.cancel()
            async with asyncio.timeout(CALL_S):
                await here.double.ended.wait()
            await until(
                lambda: (
                    (REGISTRY.get_sample_value("flashtalk_rpc_handled_total", labels) or 0) > before
                )
            )
            running = {"method": labels["method"]}
            assert REGISTRY.get_sample_value("flashtalk_rpc_running", running) == 0

    run(scenario)


def test_the_worker_question_is_the_same_everywhere() -> None:
    descriptors = [
        module.DESCRIPTOR.services_by_name[name].methods_by_name["GetWorker"]
        for module, name in ((audio_pb2, "AudioEncoderService"), (vae_pb2, "VaeDecoderService"))
    ]
    for method in descriptors:
        assert method.input_type is worker_pb2.GetWorkerRequest.DESCRIPTOR
    assert session_pb2.IdlePolicy.Value("IDLE_POLICY_UNSPECIFIED") == 0
