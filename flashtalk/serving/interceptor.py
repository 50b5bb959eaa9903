"""Wraps every call of a server: converts errors to statuses, measures time, continues traces.

Works for all four kinds of handlers, for streams as generators and for those that read and write
through their context.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import message as protobuf
from opentelemetry.trace import SpanKind

from flashtalk.errors import FlashTalkError, InputError
from flashtalk.serving import metrics
from flashtalk.serving.errors import DETAILS_KEY, ServiceError, to_service_error, to_status
from flashtalk.serving.logs import get_logger, log_context
from flashtalk.serving.tracing import remote_parent, span
from flashtalk.v1 import worker_pb2

_LOG = get_logger(__name__)
_LONGEST_NAME = 64
_QUIET = ("/grpc.health.v1.", "/grpc.reflection.")


@dataclass(frozen=True)
class Malformed:
    """Placeholder for a request that could not be parsed."""

    why: str

    def refuse(self) -> InputError:
        """Returns the error to raise."""
        return InputError("request", "invalid message", self.why)


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Interceptor of every call of a server."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the handler of one method; called by gRPC."""
        handler = await continuation(details)
        if handler is None or details.method.startswith(_QUIET):
            return handler
        return _wrapped(handler, details.method, _texts(details.invocation_metadata))


def _texts(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    return {key: value for key, value in metadata or () if isinstance(value, str)}


def _wrapped(handler: Any, method: str, metadata: dict[str, str]) -> Any:
    parse = _lenient(handler.request_deserializer)
    serialize = handler.response_serializer

    def around(context: Any, request: Any = None) -> contextlib.AbstractAsyncContextManager[None]:
        return _around(method, metadata, context, _about(request))

    if not handler.response_streaming:
        inner = handler.stream_unary if handler.request_streaming else handler.unary_unary
        make = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )

        async def single(request: Any, context: Any) -> Any:
            async with around(context, request):
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
            # Written, not yielded: a disconnect cancels this coroutine in its own task and
            # context; a generator could be closed from another one.
            async with (
                around(context, request),
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
    """Wraps a parser to return failures: gRPC itself would send the exception's text."""
    if parse is None:
        return None

    def lenient(data: bytes) -> Any:
        try:
            return parse(data)
        except (protobuf.DecodeError, UnicodeDecodeError, ValueError):
            return Malformed("must be a valid protobuf message of this method")

    return lenient


def _about(request: Any) -> dict[str, str | int]:
    """Returns session, chunk and epoch of a request, as far as it contains them."""
    key = getattr(request, "key", None)
    if isinstance(key, worker_pb2.ChunkKey):
        return {"session_id": key.session_id, "chunk_index": key.chunk_index, "epoch": key.epoch}
    name = getattr(request, "session_id", "")
    return {"session_id": name[:_LONGEST_NAME]} if name else {}


@dataclass
class _Failure:
    """The error of a call, created once, so that log and caller have the same incident number."""

    known: ServiceError | None = None


@contextlib.contextmanager
def _failure_logged(method: str, failure: _Failure) -> Iterator[None]:
    """Logs the failure of a call, inside its log context."""
    try:
        yield
    except grpc.aio.AbortError:
        raise
    except Exception as error:
        failure.known = known = to_service_error(error)
        level = "error" if known.code is grpc.StatusCode.INTERNAL else "info"
        getattr(_LOG, level)(
            "call failed",
            extra={
                "method": method,
                "code": known.code.name,
                "reason": known.reason.value,
                "error": str(known),
                **known.metadata,
            },
            exc_info=None if isinstance(error, FlashTalkError) else error,
        )
        raise


@contextlib.asynccontextmanager
async def _around(
    method: str, metadata: dict[str, str], context: Any, about: dict[str, str | int]
) -> AsyncIterator[None]:
    begun_s, code, failure = time.perf_counter(), grpc.StatusCode.OK, _Failure()
    metrics.STARTED.labels(method).inc()
    metrics.RUNNING.labels(method).inc()
    try:
        with (
            remote_parent(metadata),
            span(method.removeprefix("/"), about, kind=SpanKind.SERVER),
            log_context(**about),
            _failure_logged(method, failure),
        ):
            yield
    except asyncio.CancelledError:
        code = grpc.StatusCode.CANCELLED
        raise
    except grpc.aio.AbortError:
        code = context.code() or grpc.StatusCode.UNKNOWN
        raise
    except Exception as error:
        known = failure.known or to_service_error(error)
        code = known.code
        details = to_status(known).SerializeToString()
        await context.abort(code, str(known), trailing_metadata=((DETAILS_KEY, details),))
    finally:
        metrics.RUNNING.labels(method).dec()
        metrics.HANDLED.labels(method, code.name).inc()
        metrics.SECONDS.labels(method).observe(time.perf_counter() - begun_s)
