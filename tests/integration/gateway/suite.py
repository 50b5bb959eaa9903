"""A gateway and stand-in workers in this process, and a plain client that checks the contract.

All of it runs over sockets, or without them in virtual time (``tests.fakes.in_process_grpc``). What
only guards against hanging is long here; a test that wants something to run out shortens it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import numpy as np
from PIL import Image

from flashtalk.serving.channel import ChannelLimits, open_channel
from flashtalk.serving.interceptor import CallInterceptor
from flashtalk.streaming import StreamSpec
from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import session_service_pb2_grpc as pb_grpc
from services.gateway.app import GatewayApp
from services.gateway.limits import GatewayLimits
from services.gateway.settings import GatewaySettings
from services.gateway.store.limits import StoreLimits
from services.gateway.store.memory import MemoryStore
from services.gateway.store.session_store import SessionStore
from services.gateway.stream.host import StreamHost
from services.gateway.workers.pool import WorkerPool
from tests.fakes.stand_in_workers import Gate, StandIn, Workers, add_workers
from tests.fakes.virtual_time import VirtualTimeLoop
from tests.integration.gateway.watcher import Watcher
from tests.patience import patient

SPEC = StreamSpec()
F32 = media_pb2.AUDIO_ENCODING_PCM_F32LE
CALL_S = 60.0
"""One call to a worker, beyond the time at which its chunk is due."""


class Transport(Protocol):
    """What calls go over."""

    def server(self, *interceptors: grpc.aio.ServerInterceptor) -> grpc.aio.Server: ...

    def connect(self, target: str) -> grpc.aio.Channel: ...


class Sockets:
    """gRPC as it is."""

    def server(self, *interceptors: grpc.aio.ServerInterceptor) -> grpc.aio.Server:
        return grpc.aio.server(interceptors=interceptors, options=ChannelLimits().server_options())

    def connect(self, target: str) -> grpc.aio.Channel:
        return open_channel(target)


SOCKETS = Sockets()


@dataclass
class StandInServer:
    """Three workers behind one port, which can be taken away and brought back."""

    workers: Workers
    server: grpc.aio.Server
    port: int
    transport: Transport

    @classmethod
    async def start(
        cls, stand_in: StandIn, port: int = 0, transport: Transport = SOCKETS
    ) -> StandInServer:
        server = transport.server()
        port = server.add_insecure_port(f"127.0.0.1:{port}")
        workers = await add_workers(server, stand_in, f"stand-in:{uuid.uuid4().hex[:6]}")
        await server.start()
        return cls(workers, server, port, transport)

    async def kill(self) -> None:
        """Gone at once, calls and all."""
        await self.server.stop(0)

    async def again(self) -> StandInServer:
        """Another process, so to speak, at the place of this one, which was killed."""
        return await StandInServer.start(self.workers.stand_in, self.port, self.transport)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextlib.contextmanager
def kept_port() -> Iterator[int]:
    """A port that nobody else is given, also while no server of ours listens there."""
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        yield int(keeper.getsockname()[1])


@dataclass
class Gateway:
    """One gateway on one store."""

    app: GatewayApp
    store: SessionStore
    server: grpc.aio.Server
    channel: grpc.aio.Channel
    stub: Any
    port: int

    @property
    def host(self) -> StreamHost:
        """It serves the streams."""
        return self.app.host

    @property
    def pool(self) -> WorkerPool:
        """The workers that it knows."""
        return self.app.pool

    async def kill(self) -> None:
        """Its port is closed and its calls are cut; what it kept elsewhere stays."""
        await self.server.stop(0)


def memory_store(now_s: Callable[[], float] | None = None) -> MemoryStore:
    """A store whose owners may be silent for long; in virtual time it goes by that."""
    loop = asyncio.get_running_loop()
    if now_s is None and isinstance(loop, VirtualTimeLoop):
        now_s = loop.time
    return MemoryStore(
        StoreLimits(owner_timeout_s=patient(60)), **({"now_s": now_s} if now_s else {})
    )


def settings_of(targets: str, **settings: Any) -> GatewaySettings:
    """Of a gateway on loopback: it looks often and waits long, unless it is told otherwise."""
    known: dict[str, Any] = {
        "host": "127.0.0.1",
        "audio_encoders": targets,
        "dit_workers": targets,
        "vae_decoders": targets,
        "heartbeat_s": 0.1,
        "worker_poll_s": 0.1,
        "worker_probe_timeout_s": patient(20),
        "call_timeout_s": CALL_S,
        "chunk_timeout_s": patient(60),
        "interrupt_timeout_s": patient(30),
        "open_timeout_s": patient(30),
        "release_timeout_s": patient(30),
    }
    return GatewaySettings(**{**known, **settings})


def pool_limits(**settings: Any) -> GatewayLimits:
    """Of a pool that looks at its workers all the time, unless it is told otherwise."""
    return settings_of("localhost:1", **{"worker_poll_s": 0.05, **settings}).limits()


@contextlib.asynccontextmanager
async def gateway(
    targets: str,
    store: SessionStore,
    *,
    owner: str = "one",
    transport: Transport = SOCKETS,
    **settings: Any,
) -> AsyncIterator[Gateway]:
    """One gateway and a channel to it.

    Args:
        targets: of workers of all kinds.
        store: where it keeps sessions.
        owner: its name.
        transport: what its calls go over, and those to it.
        settings: others than ``settings_of`` takes.
    """
    app = GatewayApp(settings_of(targets, **{"owner": owner, **settings}), store, transport.connect)
    server = transport.server(CallInterceptor(), *app.interceptors)
    app.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    try:
        await app.start()
        await server.start()
        channel = transport.connect(f"127.0.0.1:{port}")
        try:
            yield Gateway(app, store, server, channel, pb_grpc.SessionServiceStub(channel), port)
        finally:
            await channel.close()
            await server.stop(0)
    finally:
        await app.stop()


@functools.cache
def portrait(seed: int = 0, size: tuple[int, int] = (64, 64)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def creation(**fields: Any) -> pb.CreateSessionRequest:
    known: dict[str, Any] = {
        "request_id": uuid.uuid4().hex,
        "portrait": portrait(),
        "seed": 7,
        "video_codec": media_pb2.VIDEO_CODEC_RAW_RGB24,
        "idle_policy": pb.IDLE_POLICY_WAIT,
        "pacing": pb.PACING_UNLIMITED,
    }
    return pb.CreateSessionRequest(**{**known, **fields})


def speech(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, samples).astype(np.float32)


async def opened(
    stub: Any, session_id: str, resume: int | None = None, together: int = 0
) -> tuple[Any, stream_pb2.StreamOpened]:
    """A stream that is open, and what its first response said."""
    call = stub.Stream()
    opening = stream_pb2.StreamOpen(
        session_id=session_id,
        sample_rate_hz=16_000,
        channels=1,
        audio_encoding=F32,
        frames_per_message=together,
    )
    if resume is not None:
        opening.resume_frame = resume
    await call.write(stream_pb2.StreamRequest(open=opening))
    response = await call.read()
    if response is grpc.aio.EOF:
        raise AssertionError("the stream ended before it was open")
    assert response.WhichOneof("message") == "opened"
    return call, response.opened


async def send(call: Any, pcm_S: np.ndarray, first: int, packet: int = 6_000) -> int:
    """Speech from position ``first`` on, in packets; gives the position after it."""
    for begin in range(0, len(pcm_S), packet):
        part = pcm_S[begin : begin + packet]
        message = stream_pb2.AudioPacket(pcm=part.tobytes(), first_sample=first + begin)
        await call.write(stream_pb2.StreamRequest(audio=message))
    return first + len(pcm_S)


async def end(call: Any) -> None:
    await call.write(stream_pb2.StreamRequest(end_of_audio=stream_pb2.EndOfAudio()))


async def finish(call: Any) -> None:
    await call.write(stream_pb2.StreamRequest(finish=stream_pb2.Finish()))


async def watch(
    call: Any,
    watcher: Watcher,
    until: Callable[[Watcher], bool] = lambda w: w.closed is not None,
    limit_s: float = 60.0,
) -> Watcher:
    """Reads until a condition holds, or raises what the stream ends with."""
    async with asyncio.timeout(patient(limit_s)):
        while not until(watcher):
            response = await call.read()
            if response is grpc.aio.EOF:
                raise AssertionError("the stream ended without a word")
            watcher.take(response)
    return watcher


async def whole(stub: Any, request: pb.CreateSessionRequest, pcm_S: np.ndarray) -> Watcher:
    """A session from end to end."""
    session = (await stub.CreateSession(request)).session
    call, _ = await opened(stub, session.session_id)
    await send(call, pcm_S, 0)
    await finish(call)
    return await watch(call, Watcher())


@contextlib.asynccontextmanager
async def small_suite(
    stand_in: StandIn | None = None,
    workers: int = 1,
    transport: Transport = SOCKETS,
    **settings: Any,
) -> AsyncIterator[tuple[Gateway, list[StandInServer]]]:
    """One gateway on a store in memory, and stand-in workers."""
    servers = [
        await StandInServer.start(stand_in or StandIn(), transport=transport)
        for _ in range(workers)
    ]
    store = memory_store()
    try:
        targets = ",".join(server.target for server in servers)
        async with gateway(targets, store, transport=transport, **settings) as running:
            yield running, servers
    finally:
        for server in servers:
            await server.kill()
        await store.close()


def held_at(servers: Sequence[StandInServer], stage: str, chunk: int) -> Gate:
    """Holds all workers at one moment of one chunk."""
    return Gate(stage, chunk, *(server.workers for server in servers))


def held_after(servers: Sequence[StandInServer], frame: int) -> Gate:
    """Holds them two chunks after that of ``frame``: everything around it is still kept then."""
    return held_at(servers, "audio", frame // SPEC.new_frames + 2)


def undisturbed(pcm_S: np.ndarray) -> list[bytes]:
    """The frames of a session that nothing happens to."""
    frames: list[bytes] = []

    async def scenario() -> None:
        async with small_suite() as (running, _):
            frames.extend((await whole(running.stub, creation(), pcm_S)).video)

    run(scenario)
    return frames


def run(scenario: Callable[[], Awaitable[None]], limit_s: float = 120.0) -> None:
    """Runs a scenario and sees that no task of ours outlives it."""
    asyncio.run(bounded(scenario, limit_s))


async def bounded(scenario: Callable[[], Awaitable[None]], limit_s: float = 120.0) -> None:
    """A scenario within its time, and no task of ours outlives it."""
    async with asyncio.timeout(patient(limit_s)):
        await scenario()
    # What a server's stop cancelled takes a moment to end, more on a busy machine.
    left = [t for t in asyncio.all_tasks() - {asyncio.current_task()} if _ours(t)]
    if left:
        _, running = await asyncio.wait(left, timeout=patient(30))
        assert not running, running


def _ours(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and "/services/" in code.co_filename
