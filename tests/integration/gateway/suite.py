"""A gateway and stand-in workers in this process, and a plain client that checks the contract."""

from __future__ import annotations

import asyncio
import contextlib
import io
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from PIL import Image

from flashtalk.serving.channel import ChannelLimits, open_channel
from flashtalk.serving.interceptor import CallInterceptor
from flashtalk.streaming import StreamSpec
from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import session_service_pb2_grpc as pb_grpc
from services.gateway.creation import CreationLimits
from services.gateway.making import ChunkMaker, MakingLimits
from services.gateway.servicer import SessionServicer
from services.gateway.sessions import ControlWaits, SessionDesk
from services.gateway.store.memory import MemoryStore
from services.gateway.store.session_store import SessionStore
from services.gateway.streaming_session import StreamHost, StreamWaits
from services.gateway.views import StreamLimits
from services.gateway.workers import PoolWaits, WorkerPool, WorkerTargets
from tests.fakes.stand_in_workers import StandIn, Workers, add_workers

SPEC = StreamSpec()
F32 = media_pb2.AUDIO_ENCODING_PCM_F32LE


@dataclass
class StandInServer:
    """Three workers behind one port, which can be taken away and brought back."""

    workers: Workers
    server: grpc.aio.Server
    port: int

    @classmethod
    async def start(cls, stand_in: StandIn, port: int = 0) -> StandInServer:
        options = ChannelLimits().server_options()
        server = grpc.aio.server(options=options)
        port = server.add_insecure_port(f"127.0.0.1:{port}")
        workers = await add_workers(server, stand_in, f"stand-in:{uuid.uuid4().hex[:6]}")
        await server.start()
        return cls(workers, server, port)

    async def kill(self) -> None:
        """Gone at once, calls and all."""
        await self.server.stop(0)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


@dataclass
class Gateway:
    """One gateway on one store."""

    host: StreamHost
    pool: WorkerPool
    store: SessionStore
    server: grpc.aio.Server
    channel: grpc.aio.Channel
    stub: Any
    port: int

    async def kill(self) -> None:
        """Its port is closed and its calls are cut; what it kept elsewhere stays."""
        await self.server.stop(0)


@contextlib.asynccontextmanager
async def gateway(
    targets: str, store: SessionStore, *, owner: str = "one", **limits: Any
) -> AsyncIterator[Gateway]:
    every = WorkerTargets(targets, targets, targets)
    pool = WorkerPool(every, store, PoolWaits(poll_s=0.1, probe_s=1.0))
    maker = ChunkMaker(pool, MakingLimits(call_s=5.0, chunk_s=15.0))
    stream_limits = StreamLimits(**limits)
    desk = SessionDesk(SPEC, store, pool, maker, CreationLimits(), ControlWaits())
    waits = StreamWaits(heartbeat_s=0.1, grace_s=2.0, open_s=1.0)
    host = StreamHost(owner, SPEC, store, pool, maker, stream_limits, waits)
    server = grpc.aio.server(
        interceptors=[CallInterceptor()], options=ChannelLimits().server_options()
    )
    pb_grpc.add_SessionServiceServicer_to_server(SessionServicer(desk, host, stream_limits), server)
    port = server.add_insecure_port("127.0.0.1:0")
    async with pool:
        await server.start()
        channel = open_channel(f"127.0.0.1:{port}")
        try:
            stub = pb_grpc.SessionServiceStub(channel)
            yield Gateway(host, pool, store, server, channel, stub, port)
        finally:
            await channel.close()
            await server.stop(0)


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


@dataclass
class Watcher:
    """Takes responses and insists on the contract: every frame once, in order, with its sound."""

    next_frame: int = 0
    epoch: int = 0
    video: list[bytes] = field(default_factory=list)
    pcm: list[np.ndarray] = field(default_factory=list)
    chunks: list[stream_pb2.ChunkReport] = field(default_factory=list)
    activities: list[tuple[int, int]] = field(default_factory=list)
    underruns: list[int] = field(default_factory=list)
    interrupted: list[stream_pb2.Interrupted] = field(default_factory=list)
    closed: stream_pb2.StreamClosed | None = None
    away: bool = False

    def take(self, response: stream_pb2.StreamResponse) -> str:
        kind = response.WhichOneof("message")
        if kind == "frame":
            frame = response.frame
            assert frame.frame_index == self.next_frame
            assert frame.first_sample == frame.frame_index * SPEC.samples_per_frame
            assert frame.epoch == self.epoch, "nothing of an old epoch after its end"
            pcm_S = np.frombuffer(frame.pcm, "<f4")
            assert len(pcm_S) == SPEC.samples_per_frame
            self.next_frame += 1
            self.video.append(frame.video)
            self.pcm.append(pcm_S)
        elif kind == "chunk":
            self.chunks.append(response.chunk)
        elif kind == "activity":
            self.activities.append((response.activity.kind, response.activity.frame_index))
        elif kind == "underrun":
            self.underruns.append(response.underrun.missing_samples)
        elif kind == "interrupted":
            self.interrupted.append(response.interrupted)
            self.epoch = response.interrupted.epoch
            self.next_frame = response.interrupted.played_frames
            del self.video[self.next_frame :]
            del self.pcm[self.next_frame :]
        elif kind == "closed":
            assert response.closed.next_frame == self.next_frame
            self.closed = response.closed
        elif kind == "go_away":
            self.away = True
        return str(kind)

    @property
    def activity(self) -> int:
        """Of the newest frame."""
        return self.activities[-1][0] if self.activities else 0

    @property
    def sound(self) -> np.ndarray:
        return np.concatenate(self.pcm) if self.pcm else np.zeros(0, np.float32)


async def opened(
    stub: Any, session_id: str, resume: int | None = None
) -> tuple[Any, stream_pb2.StreamOpened]:
    """A stream that is open, and what its first response said."""
    call = stub.Stream(timeout=60)
    opening = stream_pb2.StreamOpen(
        session_id=session_id, sample_rate_hz=16_000, channels=1, audio_encoding=F32
    )
    if resume is not None:
        opening.resume_frame = resume
    await call.write(stream_pb2.StreamRequest(open=opening))
    response = await call.read()
    if response is grpc.aio.EOF:
        await call  # raises the status
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
    call: Any, watcher: Watcher, until: Callable[[Watcher], bool] = lambda w: w.closed is not None
) -> Watcher:
    """Reads until a condition holds, or raises what the stream ends with."""
    async with asyncio.timeout(30):
        while not until(watcher):
            response = await call.read()
            if response is grpc.aio.EOF:
                await call
                raise AssertionError("the stream ended without a word")
            watcher.take(response)
    return watcher


async def whole(stub: Any, request: pb.CreateSessionRequest, pcm_S: np.ndarray) -> Watcher:
    """A session from end to end."""
    session = (await stub.CreateSession(request, timeout=20)).session
    call, _ = await opened(stub, session.session_id)
    await send(call, pcm_S, 0)
    await finish(call)
    return await watch(call, Watcher())


@contextlib.asynccontextmanager
async def small_suite(
    stand_in: StandIn | None = None, workers: int = 1, **limits: Any
) -> AsyncIterator[tuple[Gateway, list[StandInServer]]]:
    """One gateway on a store in memory, and stand-in workers."""
    servers = [await StandInServer.start(stand_in or StandIn()) for _ in range(workers)]
    store = MemoryStore()
    try:
        targets = ",".join(server.target for server in servers)
        async with gateway(targets, store, **limits) as running:
            yield running, servers
    finally:
        for server in servers:
            await server.kill()
        await store.close()


def run(scenario: Callable[[], Awaitable[None]], limit_s: float = 60.0) -> None:
    """Runs a scenario and sees that no task of ours outlives it."""

    async def bounded() -> None:
        async with asyncio.timeout(limit_s):
            await scenario()
        # What a server's stop cancelled takes a moment to end, more on a busy machine.
        left = [t for t in asyncio.all_tasks() - {asyncio.current_task()} if _ours(t)]
        if left:
            _, running = await asyncio.wait(left, timeout=5)
            assert not running, running

    asyncio.run(bounded())


def _ours(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and "/services/" in code.co_filename
