"""A client with no manners: any bytes, any order, and what each of its mistakes has to be told."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from google.protobuf import message as protobuf
from google.protobuf.duration_pb2 import Duration

from flashtalk.serving.errors import Reason
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2
from tests.integration.gateway.suite import (
    F32,
    SPEC,
    Gateway,
    creation,
    finish,
    opened,
    send,
    speech,
    watch,
)
from tests.integration.gateway.watcher import Watcher

SERVICE = "/flashtalk.v1.SessionService/"
INVALID = (grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID_FIELD)
Request = stream_pb2.StreamRequest


@dataclass
class Room:
    """A gateway whose store has a clock that can be moved, and the sessions of one case."""

    gateway: Gateway
    clock: list[float]
    names: list[str] = field(default_factory=list)

    async def session(self, **fields: Any) -> str:
        made = await self.gateway.stub.CreateSession(creation(**fields))
        self.names.append(made.session.session_id)
        return self.names[-1]

    async def call(self, method: str, request: bytes | protobuf.Message) -> None:
        """One call with any bytes at all; raises what it ends with."""
        data = request if isinstance(request, bytes) else request.SerializeToString()
        unary: Any = self.gateway.channel.unary_unary(SERVICE + method)
        await unary(data)

    async def talk(self, *requests: bytes | protobuf.Message) -> None:
        """A stream with any messages at all; raises what it ends with."""
        call: Any = self.gateway.channel.stream_stream(SERVICE + "Stream")()
        # The status is what counts, also where it comes before everything was written.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for request in requests:
                raw = request if isinstance(request, bytes) else request.SerializeToString()
                await call.write(raw)
        while await call.read() is not grpc.aio.EOF:
            pass
        if await call.code() is not grpc.StatusCode.OK:
            await call


Act = Callable[[Room], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """What is done, and what the answer has to be."""

    name: str
    act: Act
    field: str | None
    says: tuple[str, ...]
    status: tuple[grpc.StatusCode, Reason]


def bad(name: str, act: Act, where: str | None, *says: str, status: Any = INVALID) -> Case:
    return Case(name, act, where, says, status)


def opening(name: str, **fields: Any) -> Request:
    known = {"sample_rate_hz": 16_000, "channels": 1, "audio_encoding": F32}
    return Request(open=stream_pb2.StreamOpen(session_id=name, **{**known, **fields}))


def audio(pcm: Any, first: int = 0) -> Request:
    data = pcm if isinstance(pcm, bytes) else np.asarray(pcm, "<f4").tobytes()
    return Request(audio=stream_pb2.AudioPacket(pcm=data, first_sample=first))


def interrupting(name: str) -> Request:
    return Request(interrupt=stream_pb2.Interrupt(interrupt_id=name))


def prompting(name: str) -> Request:
    return Request(prompt_update=stream_pb2.PromptUpdate(update_id=name, prompt="a scene"))


def streaming(*requests: bytes | protobuf.Message, **fields: Any) -> Act:
    """These messages after a StreamOpen with these fields."""

    async def act(room: Room) -> None:
        name = await room.session(pacing=pb.PACING_REAL_TIME)
        await room.talk(opening(name, **fields), *requests)

    return act


def bare(*requests: bytes | protobuf.Message) -> Act:
    return lambda room: room.talk(*requests)


def calling(method: str, request: bytes | protobuf.Message) -> Act:
    return lambda room: room.call(method, request)


def making(**fields: Any) -> Act:
    return calling("CreateSession", creation(**fields))


def resuming(frame: int) -> Act:
    """After 8 chunks, of which the newest 4 are kept."""

    async def act(room: Room) -> None:
        name = await room.session()
        call, _ = await opened(room.gateway.stub, name)
        await send(call, speech(8 * SPEC.new_samples), 0)
        seen = await watch(call, Watcher(), lambda w: len(w.chunks) == 8)
        await call.done_writing()
        await watch(call, seen)
        await room.talk(opening(name, resume_frame=frame))

    return act


def after_its_end(end: str, method: str) -> Act:
    async def act(room: Room) -> None:
        name = await room.session(ttl=Duration(seconds=5))
        if end == "expired":
            room.clock[0] += 6
        else:
            await room.gateway.stub.DeleteSession(pb.DeleteSessionRequest(session_id=name))
        if method == "Stream":
            await room.talk(opening(name))
        elif method == "GetSession":
            await room.call(method, pb.GetSessionRequest(session_id=name))
        else:
            await room.call(method, pb.InterruptSessionRequest(session_id=name))

    return act


async def second_stream(room: Room) -> None:
    name = await room.session()
    call, _ = await opened(room.gateway.stub, name)
    try:
        await room.talk(opening(name))
    finally:
        await finish(call)
        assert (await watch(call, Watcher())).closed, "the first one goes on"


async def used_request(room: Room) -> None:
    await room.session(request_id="used", seed=1)
    await room.session(request_id="used", seed=2)


def png(width: int, height: int) -> bytes:
    """The head of a picture of any size, without its pixels."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b"")]
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
