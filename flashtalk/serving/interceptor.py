"""Around every call on a server: errors become statuses, time is counted, traces go on.

Works for handlers of all four kinds, for streams written as generators and for those that read and
write through their context.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import message as protobuf
from opentelemetry.trace import SpanKind

from flashtalk.errors import FlashTalkError, InputError
from flashtalk.serving import metrics
from flashtalk.serving.errors import DETAILS_KEY, to_service_error, to_status
from flashtalk.serving.logs import get_logger
from flashtalk.serving.tracing import remote_parent, span

_LOG = get_logger(__name__)
_QUIET = ("/grpc.health.v1.", "/grpc.reflection.")


@dataclass(frozen=True)
class Malformed:
    """Stands for a request that could not be parsed."""

    why: str

    def refuse(self) -> InputError:
        """The error to raise."""
        return InputError("request", "not a message of this call", self.why)


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Put around every call of a server."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """See the class."""
        handler = await continuation(details)
        if handler is None or details.method.startswith(_QUIET):
            return handler
        return _wrapped(handler, details.method, _texts(details.invocation_metadata))


def _texts(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    return {key: value for key, value in metadata or () if isinstance(value, str)}


def _wrapped(handler: Any, method: str, metadata: dict[str, str]) -> Any:
    parse = _lenient(handler.request_deserializer)
    serialize = handler.response_serializer

    def around(context: Any) -> contextlib.AbstractAsyncContextManager[None]:
        return _around(method, metadata, context)

    if not handler.response_streaming:
        inner = handler.stream_unary if handler.request_streaming else handler.unary_unary
        make = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )

        async def single(request: Any, context: Any) -> Any:
            async with around(context):
                return await inner(_accepted(request), context)

        return make(single, parse, serialize)
    inner = handler.stream_stream if handler.request_streaming else handler.unary_stream
    make = (
        grpc.stream_stream_rpc_method_handler
        if handler.request_streaming
        else grpc.unary_stream_rpc_method_handler
    )
    if inspect.isasyncgenfunction(inner):

        async def generated(request: Any, context: Any) -> None:
            # Written, not yielded: a caller who leaves cancels this coroutine, in its own task
            # and context; a generator would be closed by whoever comes to it.
            async with (
                around(context),
                contextlib.aclosing(inner(_accepted(request), context)) as responses,
            ):
                async for response in responses:
                    await context.write(response)

        return make(generated, parse, serialize)

    async def written(request: Any, context: Any) -> None:
        async with around(context):
            await inner(request, context)

    return make(written, parse, serialize)


def _accepted(request: Any) -> Any:
    if isinstance(request, Malformed):
        raise request.refuse()
    return request


def _lenient(parse: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """Parsing that hands failure on: grpc itself would answer with the exception's text."""
    if parse is None:
        return None

    def lenient(data: bytes) -> Any:
        try:
            return parse(data)
        except (protobuf.DecodeError, UnicodeDecodeError, ValueError):
            return Malformed("bytes that parse as protobuf")

    return lenient


@contextlib.asynccontextmanager
async def _around(method: str, metadata: dict[str, str], context: Any) -> AsyncIterator[None]:
    begun_s, code = time.perf_counter(), grpc.StatusCode.OK
    metrics.STARTED.labels(method).inc()
    metrics.RUNNING.labels(method).inc()
    try:
        with remote_parent(metadata), span(method.removeprefix("/"), kind=SpanKind.SERVER):
            yield
    except asyncio.CancelledError:
        code = grpc.StatusCode.CANCELLED
        raise
    except grpc.aio.AbortError:
        code = context.code() or grpc.StatusCode.UNKNOWN
        raise
    except Exception as error:
        known = to_service_error(error)
        code = known.code
        level = "error" if code is grpc.StatusCode.INTERNAL else "info"
        getattr(_LOG, level)(
            "call failed",
            extra={"method": method, "code": code.name, "reason": known.reason.value,
                   "error": str(known), **known.metadata},
            exc_info=None if isinstance(error, FlashTalkError) else error,
        )  # fmt: skip
        details = to_status(known).SerializeToString()
        await context.abort(code, str(known), trailing_metadata=((DETAILS_KEY, details),))
    finally:
        metrics.RUNNING.labels(method).dec()
        metrics.HANDLED.labels(method, code.name).inc()
        metrics.SECONDS.labels(method).observe(time.perf_counter() - begun_s)
