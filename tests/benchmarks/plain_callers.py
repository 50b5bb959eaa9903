"""Callers that speak and listen for a few microseconds per message: see ``plain_http2``."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc

from flashtalk.v1 import session_service_pb2_grpc as pb_grpc
from flashtalk.v1 import stream_pb2
from flashtalk.wire.host_port import read_host_port
from tests.benchmarks.callers import ALWAYS, PACKET_S, Caller, Turns, creation
from tests.benchmarks.plain_http2 import Connection, Stream
from tests.patience import patient

_STREAM = "/flashtalk.v1.SessionService/Stream"
_RESPONSE = stream_pb2.StreamResponse.DESCRIPTOR.fields_by_name
_GROUP = _RESPONSE["frames"].number << 3 | 2
_FRAME_TAG, _INDEX_TAG = 0x0A, 0x08


async def connect(target: str) -> Connection:
    """A connection to HOST:PORT."""
    place = read_host_port(target)
    assert place is not None, target
    _, connection = await asyncio.get_running_loop().create_connection(Connection, *place)
    return connection


class PlainCaller(Caller):
    """As ``Caller``, for as little processor time as it can; its session is made by gRPC.

    Args:
        channel: to the gateway.
        connection: to the same one.
        seed, frames_per_message, turns: see ``Caller``.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        connection: Connection,
        seed: int,
        frames_per_message: int = 7,
        turns: Turns = ALWAYS,
    ) -> None:
        super().__init__(channel, seed, frames_per_message, turns)
        self._connection = connection
        self._sessions: Any = pb_grpc.SessionServiceStub(channel)

    async def run(self, until: asyncio.Event, **fields: Any) -> None:
        """A session from its making to its end; leaves when ``until`` is set."""
        made = await self._sessions.CreateSession(creation(**fields), timeout=patient(60))
        stream = self._connection.open(_STREAM, self._take)
        opening = self._opening(made.session.session_id)
        stream.send(opening.SerializeToString())
        self._begun_s, self._number, self._until = time.monotonic(), 0, until
        self._go_on(stream)
        await stream.ended

    def _go_on(self, stream: Stream) -> None:
        """The next packet, and then the one after it at its time."""
        if stream.ended.done():
            return
        if self._until.is_set():
            finish = stream_pb2.StreamRequest(finish=stream_pb2.Finish())
            stream.send(finish.SerializeToString())
            return
        request = self._say(self._number)
        if request is not None:
            stream.send(request.SerializeToString())
        self._number += 1
        wait_s = self._begun_s + self._number * PACKET_S - time.monotonic()
        asyncio.get_running_loop().call_later(max(0.0, wait_s), self._go_on, stream)

    def _take(self, message: memoryview) -> None:
        """Of groups of frames only the numbers are read."""
        if message[0] != _GROUP:
            self._notice(stream_pb2.StreamResponse.FromString(bytes(message)))
            return
        _, at = _varint(message, 1)
        heard = self.noticed
        first = None
        while at < len(message):
            assert message[at] == _FRAME_TAG
            size, at = _varint(message, at + 1)
            index = _varint(message, at + 1)[0] if message[at] == _INDEX_TAG else 0
            if first is None:
                first = index
                heard.heads.append((index, time.monotonic()))
            heard.misplaced += index != heard.frames
            heard.frames += 1
            at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number that stands there, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
