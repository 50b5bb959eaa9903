"""When a client makes a failed call again, where, and when it gives up; in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from flashtalk.client import ClientError, FlashTalkClient
from flashtalk.wire.status import DETAILS_KEY, DOMAIN, Reason
from tests.fakes.fullest_window import most_within
from tests.fakes.virtual_time import run_virtual

Answer = grpc.aio.AioRpcError | None
AWAY = grpc.StatusCode.UNAVAILABLE


class ScriptedGateways(FlashTalkClient):
    """Answers by a script instead of a connection, and notes when and where it was asked."""

    def __init__(self, answer: Callable[[int], Answer], **kwargs: Any) -> None:
        super().__init__("a:1,b:2", **kwargs)
        self._answer = answer
        self.asked: list[tuple[float, int]] = []

    def stub(self) -> Any:
        self.asked.append((asyncio.get_running_loop().time(), self._turn))
        error = self._answer(len(self.asked))

        class Stub:
            async def DeleteSession(self, request: Any, **_: Any) -> None:
                if error is not None:
                    raise error

            CreateSession = DeleteSession

        return Stub()

    def pauses_s(self) -> list[float]:
        times_s = [time_s for time_s, _ in self.asked]
        return [later_s - time_s for time_s, later_s in itertools.pairwise(times_s)]


def failure(
    code: grpc.StatusCode = AWAY, reason: Reason | None = None, after_s: float = 0.0
) -> grpc.aio.AioRpcError:
    status = status_pb2.Status(code=code.value[0])
    if reason is not None:
        status.details.add().Pack(error_details_pb2.ErrorInfo(domain=DOMAIN, reason=reason))
    if after_s:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(1_000 * after_s))
        status.details.add().Pack(retry)
    trailing = grpc.aio.Metadata((DETAILS_KEY, status.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details="it failed")


def fails(times: int, error: Answer = None) -> Callable[[int], Answer]:
    return lambda number: (error or failure()) if number <= times else None


def test_attempts_turn_through_the_gateways_with_growing_pauses() -> None:
    client = ScriptedGateways(fails(4))
    run_virtual(lambda: client.delete_session("s"))
    assert [turn for _, turn in client.asked] == [0, 1, 2, 3, 4]
    for pause_s, upper_s in zip(client.pauses_s(), (0.3, 0.6, 1.0, 1.0), strict=True):
        assert 0.1 <= pause_s <= upper_s


def test_no_attempt_begins_after_the_patience() -> None:
    client = ScriptedGateways(fails(1_000), patience_s=20.0)
    with pytest.raises(ClientError, match="it failed") as caught:
        run_virtual(lambda: client.delete_session("s"))
    assert caught.value.code is AWAY
    assert isinstance(caught.value.__cause__, grpc.aio.AioRpcError)
    last_s = client.asked[-1][0] - client.asked[0][0]
    assert 20.0 - 1.0 <= last_s <= 20.0
    assert client._turn == client.asked[-1][1], "the error names the gateway that gave it"


def test_without_patience_there_is_one_attempt() -> None:
    client = ScriptedGateways(fails(1), patience_s=0.0)
    with pytest.raises(ClientError):
        run_virtual(lambda: client.delete_session("s"))
    assert len(client.asked) == 1


@pytest.mark.parametrize(
    "error",
    [
        failure(grpc.StatusCode.NOT_FOUND, Reason.SESSION_GONE),
        failure(grpc.StatusCode.INTERNAL, Reason.INTERNAL),
        failure(grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.NO_SLOT, 0.5),
    ],
)
def test_what_no_attempt_would_better_is_raised_at_once(error: grpc.aio.AioRpcError) -> None:
    client = ScriptedGateways(fails(1, error))
    with pytest.raises(ClientError) as caught:
        run_virtual(lambda: client.create_session(b"portrait"))
    assert caught.value.code is error.code()
    assert len(client.asked) == 1


@pytest.mark.parametrize(("after_s", "pause_s"), [(2.5, 2.5), (0.0, 1.0)])
def test_who_waits_for_a_slot_waits_as_long_as_the_server_says(
    after_s: float, pause_s: float
) -> None:
    full = failure(grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.NO_SLOT, after_s)
    client = ScriptedGateways(fails(1_000, full), patience_s=9.0)
    with pytest.raises(ClientError) as caught:
        run_virtual(lambda: client.create_session(b"portrait", wait_for_slot=True))
    assert caught.value.reason is Reason.NO_SLOT
    assert client.pauses_s() == pytest.approx([pause_s] * int(9.0 / pause_s))


def test_a_cancelled_call_is_not_made_again() -> None:
    client = ScriptedGateways(fails(1_000))

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.delete_session("s")

    run_virtual(scenario)
    assert len(client.asked) == 1


def test_clients_of_a_gateway_that_died_come_back_one_by_one() -> None:
    """Of 200 no more than a fifth within any 20 ms, in each of their first three attempts."""
    clients = [ScriptedGateways(fails(3)) for _ in range(200)]

    async def scenario() -> None:
        await asyncio.gather(*(client.delete_session("s") for client in clients))

    run_virtual(scenario)
    assert len({client.asked[0][0] for client in clients}) == 1
    for attempt in (1, 2, 3):
        back_s = [client.asked[attempt][0] for client in clients]
        assert most_within(back_s, 0.02) <= 200 / 5
