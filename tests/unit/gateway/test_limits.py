"""Limits and waits are what the settings say, down to the parts that keep them."""

import asyncio

import grpc
import pytest

from flashtalk.v1 import session_service_pb2 as pb
from services.gateway.settings import GatewaySettings
from tests.fakes.virtual_suite import in_virtual_time, virtual_suite
from tests.integration.gateway.suite import creation, opened

WAIT_S = 2.5


def test_limits_have_the_values_of_their_settings() -> None:
    limits = GatewaySettings(max_buffered_s=7.5, worker_linger_s=0).limits()
    assert (limits.max_buffered_s, limits.worker_linger_s) == (7.5, 0)
    assert limits.max_portrait_bytes == GatewaySettings().max_portrait_bytes


def test_a_stream_without_a_first_message_ends_when_the_settings_say() -> None:
    async def scenario() -> None:
        async with virtual_suite(open_timeout_s=WAIT_S) as (gateway, _):
            begun_s = asyncio.get_running_loop().time()
            call = gateway.stub.Stream()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert asyncio.get_running_loop().time() - begun_s == pytest.approx(WAIT_S)

    in_virtual_time(scenario)


def test_a_quiet_stream_speaks_as_often_as_the_settings_say() -> None:
    async def scenario() -> None:
        async with virtual_suite(client_heartbeat_s=WAIT_S) as (gateway, _):
            made = await gateway.stub.CreateSession(creation())
            call, _ = await opened(gateway.stub, made.session.session_id)
            begun_s = asyncio.get_running_loop().time()
            for number in (1, 2, 3):
                assert (await call.read()).WhichOneof("message") == "heartbeat"
                now_s = asyncio.get_running_loop().time()
                assert now_s - begun_s == pytest.approx(number * WAIT_S)
            call.cancel()

    in_virtual_time(scenario)


def test_a_portrait_may_have_so_many_bytes_as_the_settings_say() -> None:
    async def scenario() -> None:
        async with virtual_suite(max_portrait_bytes=1_000) as (gateway, _):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await gateway.stub.CreateSession(creation(portrait=b"p" * 1_001))
            assert "1 to 1000 bytes" in str(caught.value.details())
            assert (await gateway.stub.ListSessions(pb.ListSessionsRequest())).sessions == []

    in_virtual_time(scenario)
