"""The incident number that a caller gets is the one in the log, and there is one of each."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from flashtalk.serving.interceptor import CallInterceptor
from flashtalk.wire.status import DETAILS_KEY


class Context:
    """What a server hands a call, as far as it is needed here."""

    def __init__(self) -> None:
        self.message = ""
        self.status = status_pb2.Status()

    async def abort(
        self, code: grpc.StatusCode, message: str, trailing_metadata: tuple[tuple[str, bytes], ...]
    ) -> None:
        self.message = message
        self.status.ParseFromString(dict(trailing_metadata)[DETAILS_KEY])
        raise grpc.aio.AbortError

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.INTERNAL

    async def write(self, response: Any) -> None: ...


def failed(kind: str) -> Context:
    """A call of a kind whose handler fails with an error that nobody thought of."""

    async def single(request: Any, context: Any) -> Any:
        raise KeyError("the password is swordfish")

    async def generated(request: Any, context: Any) -> Any:
        yield b""
        raise KeyError("the password is swordfish")

    handler: Any = (
        grpc.unary_unary_rpc_method_handler(single)
        if kind == "unary"
        else grpc.unary_stream_rpc_method_handler(generated)
    )
    details: Any = SimpleNamespace(method="/flashtalk.v1.Any/Call", invocation_metadata=())

    async def scenario() -> Context:
        async def continuation(_: Any) -> Any:
            return handler

        wrapped = await CallInterceptor().intercept_service(continuation, details)
        context = Context()
        call = wrapped.unary_unary if kind == "unary" else wrapped.unary_stream
        with pytest.raises(grpc.aio.AbortError):
            await call(b"", context)
        return context

    return asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["unary", "generated"])
def test_the_caller_and_the_log_have_the_same_number(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        context = failed(kind)
    info = error_details_pb2.ErrorInfo()
    assert context.status.details[0].Unpack(info)
    incident = info.metadata["incident"]
    assert incident in context.message
    logged = [vars(record)["incident"] for record in caplog.records if "incident" in vars(record)]
    assert logged == [incident]
    assert "swordfish" not in context.message
    assert "swordfish" in caplog.text


def test_each_call_has_a_number_of_its_own() -> None:
    assert failed("unary").message != failed("unary").message
