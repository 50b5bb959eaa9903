"""One call of ``tests.fakes.in_process_grpc``: its messages both ways, and how it ends."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

import grpc

Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True)
class Status:
    """How a call ended."""

    code: grpc.StatusCode
    details: str = ""
    trailing: Metadata = ()


class Call:
    """One call, as its caller sees it: of all four kinds."""

    def __init__(
        self,
        serialize: Callable[[Any], bytes],
        deserialize: Callable[[bytes], Any],
        timeout_s: float | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._serialize, self._deserialize = serialize, deserialize
        self.requests = Pipe()
        self.responses = Pipe()
        self.ended: asyncio.Future[Status] = loop.create_future()
        self.handling: asyncio.Task[None] | None = None
        self.until_s = None if timeout_s is None else loop.time() + timeout_s
        late = Status(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        alarm = None if self.until_s is None else loop.call_at(self.until_s, self.cut, late)
        if alarm is not None:
            self.ended.add_done_callback(lambda _: alarm.cancel())
        self._left = False

    def handle(self, handler: Callable[[], Coroutine[Any, Any, Status]]) -> None:
        """The server's side sets out; it knows nothing of what is around the caller."""
        self.handling = asyncio.get_running_loop().create_task(
            self._handle(handler), context=contextvars.Context()
        )

    async def _handle(self, handler: Callable[[], Coroutine[Any, Any, Status]]) -> None:
        try:
            status = await handler()
        except asyncio.CancelledError:
            status = Status(grpc.StatusCode.CANCELLED, "the handler was cancelled")
        self.responses.close(lambda: self._end(status))

    def _end(self, status: Status) -> None:
        if not self.ended.done():
            self.ended.set_result(status)

    def cut(self, status: Status) -> None:
        """It ends here and now; what was under way is lost."""
        self._end(status)
        self.responses.drop()
        self.requests.drop()
        if self.handling is not None:
            self.handling.cancel()

    def send(self, request: Any) -> None:
        """Sends a request off."""
        self.requests.put(self._serialize(request))

    def half_closed(self) -> None:
        """Nothing more is sent."""
        self.requests.close()

    async def write(self, request: Any) -> None:
        """As ``grpc.aio``."""
        if self.ended.done() or self.requests.closed:
            raise asyncio.InvalidStateError("RPC already finished or half closed.")
        self.send(request)
        await asyncio.sleep(0)

    async def done_writing(self) -> None:
        """As ``grpc.aio``."""
        self.half_closed()
        await asyncio.sleep(0)

    async def read(self) -> Any:
        """The next response; EOF at an end in order. Raises what else it ended with."""
        try:
            data = await self.responses.get()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if data is None:
            await self._raise_for_status()
            return grpc.aio.EOF
        return self._deserialize(data)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (response := await self.read()) is not grpc.aio.EOF:
            yield response

    def __await__(self) -> Generator[Any, None, Any]:
        return self._response().__await__()

    async def _response(self) -> Any:
        response = await self.read()
        assert response is not grpc.aio.EOF, "an answer without a response"
        assert await self.read() is grpc.aio.EOF, "one response is the answer"
        return response

    async def _raise_for_status(self) -> None:
        if self._left:
            raise asyncio.CancelledError
        status = await self._status()
        if status.code is not grpc.StatusCode.OK:
            raise grpc.aio.AioRpcError(
                status.code,
                grpc.aio.Metadata(),
                grpc.aio.Metadata(*status.trailing),
                details=status.details,
            )

    def cancel(self) -> bool:
        """The caller leaves; False if the call was over."""
        if self.ended.done():
            return False
        self._left = True
        self.cut(Status(grpc.StatusCode.CANCELLED, "Locally cancelled by application!"))
        return True

    def cancelled(self) -> bool:
        """Whether the caller left."""
        return self._left

    def done(self) -> bool:
        """Whether it is over and everything was read."""
        return self.ended.done()

    async def _status(self) -> Status:
        return await asyncio.shield(self.ended)

    async def code(self) -> grpc.StatusCode:
        """As ``grpc.aio``, and so are the others."""
        return (await self._status()).code

    async def details(self) -> str:
        """What is said of the end."""
        return (await self._status()).details

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """Nobody here sends any."""
        return grpc.aio.Metadata()

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """Of the end."""
        return grpc.aio.Metadata(*(await self._status()).trailing)


class Pipe:
    """Messages one way, one reader."""

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._emptied: Callable[[], object] = lambda: None
        self.closed = False

    def put(self, message: bytes) -> None:
        if not self.closed:
            self._messages.append(message)
            self._changed.set()

    def close(self, emptied: Callable[[], object] = lambda: None) -> None:
        """Nothing follows; ``emptied`` is called once everything has been read."""
        if self.closed:
            return
        self.closed, self._emptied = True, emptied
        self._changed.set()
        if not self._messages:
            emptied()

    def drop(self) -> None:
        """Nothing follows, and what waits is lost."""
        self._messages.clear()
        self.close()

    async def get(self) -> bytes | None:
        """The next one; None after the last."""
        while not self._messages:
            if self.closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        message = self._messages.popleft()
        if self.closed and not self._messages:
            self._emptied()
        return message
