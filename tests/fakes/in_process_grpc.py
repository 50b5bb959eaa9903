"""gRPC inside one event loop: servers, channels and calls without sockets, threads or real time.

It plays what ``grpc.aio`` plays for generated stubs and servicers, so that both ends of a call run
in one loop, also in one of virtual time. Messages are serialised for real. A message takes no time,
and there is no limit to how many are under way. How a call ends is told as ``grpc.aio`` tells it:
what a server says comes after its messages; a deadline, a lost server or a caller that leaves ends
it at once, and the handler is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import grpc

from tests.fakes.in_process_call import Call, Metadata, Status

_FIRST_PORT = 1_000


class _Details(NamedTuple):
    method: str
    invocation_metadata: Metadata


class Network:
    """Whom a channel reaches: servers by HOST:PORT."""

    def __init__(self) -> None:
        self.servers: dict[str, Server] = {}
        self._next_port = _FIRST_PORT

    def server(self, *interceptors: grpc.aio.ServerInterceptor) -> grpc.aio.Server:
        """As ``grpc.aio.server``."""
        return cast(grpc.aio.Server, Server(self, interceptors))

    def connect(self, target: str) -> grpc.aio.Channel:
        """As ``grpc.aio.insecure_channel``."""
        return cast(grpc.aio.Channel, Channel(self, target))

    def free_port(self) -> int:
        """One that nobody had."""
        self._next_port += 1
        return self._next_port


class Server:
    """What ``add_...Servicer_to_server`` and a program need of a ``grpc.aio.Server``."""

    def __init__(
        self, network: Network, interceptors: Sequence[grpc.aio.ServerInterceptor]
    ) -> None:
        self._network, self._interceptors = network, interceptors
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._address = ""
        self.calls: set[Call] = set()

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Takes in a service."""
        self._handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """The same service once more: nothing to do."""

    def add_insecure_port(self, address: str) -> int:
        """Will listen there; port 0 takes a free one."""
        host, _, port = address.rpartition(":")
        number = int(port) or self._network.free_port()
        self._address = f"{host}:{number}"
        return number

    async def start(self) -> None:
        """Can be reached from now on."""
        self._network.servers[self._address] = self

    async def stop(self, grace: float | None) -> None:
        """Cannot be reached any more, and its calls are cut, whatever ``grace`` is."""
        if self._network.servers.get(self._address) is self:
            del self._network.servers[self._address]
        running = [call.handling for call in self.calls if call.handling is not None]
        for call in list(self.calls):
            call.cut(Status(grpc.StatusCode.UNAVAILABLE, "the connection was lost"))
        if running:
            await asyncio.wait(running)

    def take(self, call: Call, details: _Details) -> None:
        """A call that arrives."""
        self.calls.add(call)
        call.ended.add_done_callback(lambda _: self.calls.discard(call))
        call.handle(lambda: self._status(call, details))

    async def _status(self, call: Call, details: _Details) -> Status:
        return await _handled(await self._handler(details), call, details)

    async def _handler(self, details: _Details) -> Any:
        """Of a method, with the interceptors around it; None if there is none."""

        async def innermost(details: Any) -> Any:
            found = (each.service(details) for each in self._handlers)
            return next((handler for handler in found if handler is not None), None)

        layer: Callable[[Any], Any] = innermost
        for interceptor in reversed(self._interceptors):
            layer = _around(interceptor, layer)
        return await layer(details)


def _around(
    interceptor: grpc.aio.ServerInterceptor, inner: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    return lambda details: interceptor.intercept_service(inner, details)


class Channel:
    """What generated stubs need of a ``grpc.aio.Channel``."""

    def __init__(self, network: Network, target: str) -> None:
        self._network, self._target = network, target
        self._calls: set[Call] = set()
        self._closed = False

    def unary_unary(self, method: str, *codec: Any, **kept: Any) -> Callable[..., Call]:
        """As there, and so are the others."""
        return self._method(method, False, *codec, **kept)

    def unary_stream(self, method: str, *codec: Any, **kept: Any) -> Callable[..., Call]:
        """One request, many responses."""
        return self._method(method, False, *codec, **kept)

    def stream_stream(self, method: str, *codec: Any, **kept: Any) -> Callable[..., Call]:
        """Many of both."""
        return self._method(method, True, *codec, **kept)

    async def close(self, grace: float | None = None) -> None:
        """Ends its calls."""
        self._closed = True
        for call in list(self._calls):
            call.cut(Status(grpc.StatusCode.CANCELLED, "the channel was closed"))

    def _method(
        self,
        method: str,
        streaming: bool,
        request_serializer: Callable[[Any], bytes] = bytes,
        response_deserializer: Callable[[bytes], Any] = bytes,
        _registered_method: bool = False,
    ) -> Callable[..., Call]:
        def begin(
            request: Any = None, *, timeout: float | None = None, metadata: Metadata = ()
        ) -> Call:
            if self._closed:
                raise grpc.aio.UsageError("the channel is closed")
            call = Call(request_serializer, response_deserializer, timeout)
            self._calls.add(call)
            call.ended.add_done_callback(lambda _: self._calls.discard(call))
            if not streaming:
                call.send(request)
                call.half_closed()
            server = self._network.servers.get(self._target)
            if server is not None:
                server.take(call, _Details(method, tuple(metadata)))
            else:
                lost = Status(grpc.StatusCode.UNAVAILABLE, "failed to connect: nobody listens")
                asyncio.get_running_loop().call_soon(call.cut, lost)
            return call

        return begin


@dataclass
class _Context:
    """What a handler is given."""

    call: Call
    details: _Details
    handler: Any
    status: Status = field(default=Status(grpc.StatusCode.OK))

    async def read(self) -> Any:
        data = await self.call.requests.get()
        return grpc.aio.EOF if data is None else _parsed(self.handler, data)

    async def write(self, response: Any) -> None:
        self.call.responses.put(self.handler.response_serializer(response))
        await asyncio.sleep(0)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()
    ) -> None:
        self.status = Status(code, details, tuple(trailing_metadata))
        raise grpc.aio.AbortError("Locally aborted.")

    def code(self) -> grpc.StatusCode:
        return self.status.code

    def time_remaining(self) -> float | None:
        until_s = self.call.until_s
        return None if until_s is None else until_s - asyncio.get_running_loop().time()

    def invocation_metadata(self) -> Metadata:
        return self.details.invocation_metadata


def _parsed(handler: Any, data: bytes) -> Any:
    return handler.request_deserializer(data)


async def _handled(handler: Any, call: Call, details: _Details) -> Status:
    if handler is None:
        return Status(grpc.StatusCode.UNIMPLEMENTED, f"{details.method} is not served")
    context = _Context(call, details, handler)
    try:
        await _served(handler, context)
    except grpc.aio.AbortError:
        return context.status
    except Exception as error:
        return Status(grpc.StatusCode.UNKNOWN, f"Unexpected {type(error)}: {error}")
    return context.status


async def _served(handler: Any, context: _Context) -> None:
    request = _requests(context) if handler.request_streaming else await context.read()
    kinds = (handler.unary_unary, handler.unary_stream, handler.stream_stream)
    outcome = next(kind for kind in kinds if kind is not None)(request, context)
    if not handler.response_streaming:
        await context.write(await outcome)
    elif hasattr(outcome, "__aiter__"):
        async for response in outcome:
            await context.write(response)
    else:
        await outcome


async def _requests(context: _Context) -> AsyncIterator[Any]:
    while (request := await context.read()) is not grpc.aio.EOF:
        yield request
