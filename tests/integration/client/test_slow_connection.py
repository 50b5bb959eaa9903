"""A machine that is too busy to shake hands at once is reached all the same."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from flashtalk.client import FlashTalkClient
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import session_service_pb2_grpc as pb_grpc
from tests.integration.gateway.suite import SOCKETS, run, small_suite
from tests.patience import patient

HELD_S = 0.4
"""Before the first word of the server gets through: as good as nothing, but no longer at once."""


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter, held_s: float) -> None:
    held = asyncio.Event()
    asyncio.get_running_loop().call_later(held_s, held.set)
    with contextlib.suppress(OSError):
        while data := await source.read(2**16):
            await held.wait()
            sink.write(data)
            await sink.drain()
    sink.close()


@contextlib.asynccontextmanager
async def busy_machine(port: int) -> AsyncIterator[str]:
    """HOST:PORT behind which a server takes its time."""
    passing = set[asyncio.Task[None]]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        passing.add(asyncio.create_task(_pass(reader, inner_writer, 0.0)))
        passing.add(asyncio.create_task(_pass(inner_reader, writer, HELD_S)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in passing:
            task.cancel()
        if passing:
            await asyncio.wait(passing)


async def _between_services(target: str) -> None:
    channel = SOCKETS.connect(target)
    stub = pb_grpc.SessionServiceStub(channel)
    await stub.ListSessions(pb.ListSessionsRequest(), timeout=patient(60))
    await channel.close()


async def _from_a_client(target: str) -> None:
    async with FlashTalkClient(target, patience_s=0.01) as client:  # a single attempt
        assert [session async for session in client.sessions()] == []


@pytest.mark.parametrize("reach", [_between_services, _from_a_client])
def test_a_handshake_may_take_a_while(reach: Callable[[str], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with small_suite() as (running, _), busy_machine(running.port) as target:
            await reach(target)

    run(scenario)
