"""How long a stream pauses between connections; in virtual time."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from flashtalk.client import ClientError, FlashTalkClient
from flashtalk.client.stream import SessionStream
from flashtalk.v1 import session_service_pb2 as pb
from tests.fakes.fullest_window import most_within
from tests.fakes.virtual_time import run_virtual

LOST, OPENED, ENDED = range(3)


class ScriptedStream(SessionStream):
    """Its connections are lost at once, or once they are opened, or end the stream."""

    def __init__(self, client: FlashTalkClient, script: list[int]) -> None:
        session = pb.Session(session_id="s")
        session.spec.sample_rate_hz = 16_000
        session.limits.max_packet_bytes = 64_000
        session.limits.max_buffered_samples = 160_000
        super().__init__(client, session)
        self._script = iter(script)
        self.begun_s: list[float] = []

    async def _connection(self) -> bool:
        self.begun_s.append(asyncio.get_running_loop().time())
        what = next(self._script)
        self._opened = what == OPENED
        return what == ENDED


def connected(script: list[int], patience_s: float = 60.0) -> tuple[ScriptedStream, int]:
    """A stream after its script, and how often its client turned to another gateway."""

    async def scenario() -> tuple[ScriptedStream, int]:
        client = FlashTalkClient("a:1,b:2", patience_s=patience_s)
        stream = ScriptedStream(client, script)
        await stream._connections()
        return stream, client._turn

    stream, turns = run_virtual(scenario)
    return stream, turns


def test_pauses_grow_and_start_again_after_a_connection_that_was_opened() -> None:
    stream, turns = connected([LOST, LOST, LOST, LOST, OPENED, LOST, LOST, ENDED])
    pauses_s = [later_s - s for s, later_s in itertools.pairwise(stream.begun_s)]
    for pause_s, upper_s in zip(pauses_s, (0.3, 0.6, 1.0, 1.0, 0.3, 0.6, 1.0), strict=True):
        assert 0.1 <= pause_s <= upper_s
    assert turns == stream.reconnects == 7


def test_without_patience_the_first_lost_connection_is_the_last() -> None:
    with pytest.raises(ClientError, match="no gateway accepts the stream"):
        connected([LOST, ENDED], patience_s=-1.0)


def test_streams_that_are_lost_together_do_not_come_back_together() -> None:
    """Of 200 no more than a fifth within any 20 ms, in each of their first three attempts."""
    streams: list[ScriptedStream] = []

    async def scenario() -> None:
        client = FlashTalkClient("a:1")
        streams.extend(ScriptedStream(client, [OPENED, LOST, LOST, ENDED]) for _ in range(200))
        await asyncio.gather(*(stream._connections() for stream in streams))

    run_virtual(scenario)
    for attempt in (1, 2, 3):
        back_s = [stream.begun_s[attempt] for stream in streams]
        assert most_within(back_s, 0.02) <= 200 / 5
