"""Calls to a deployment's gateways: if one is unavailable, the next one is tried."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

import grpc
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from flashtalk.client.access import KeyedStub, key_metadata
from flashtalk.client.arguments import Portrait, SessionName, portrait_bytes, session_name
from flashtalk.client.errors import ClientError, passes
from flashtalk.client.stream import SessionStream
from flashtalk.errors import InputError
from flashtalk.pauses import spread_wait
from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import session_service_pb2_grpc as pb_grpc
from flashtalk.wire.host_port import read_host_port
from flashtalk.wire.proxies import proxy_options
from flashtalk.wire.status import Reason, reason_of, retry_after_s

ResponseT = TypeVar("ResponseT")
_LONGEST_PAUSE_S = 1.0
_PAUSE = spread_wait(0.1, _LONGEST_PAUSE_S)
_FULL = frozenset({Reason.NO_SLOT, Reason.KEY_LIMIT})
_OPTIONS = [
    ("grpc.max_send_message_length", 64 * 2**20),
    ("grpc.max_receive_message_length", 64 * 2**20),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Despite its name this is the timeout of one connection attempt.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


class FlashTalkClient:
    """Connections to the gateways of one deployment; an async context manager.

    Args:
        gateways: HOST:PORT, or several separated by commas.
        call_s: timeout of one attempt of a call.
        patience_s: timeout of all attempts of a call together; also how long a stream may be
            without a connection before it fails.
        credentials: TLS credentials (``tls_credentials``); None for plaintext HTTP/2.
        api_key: sent with every call; empty for none.
        plaintext_key: allows sending the key to another machine without TLS.

    Raises:
        InputError: an invalid HOST:PORT or key, or a key that would be sent unencrypted.
    """

    def __init__(
        self,
        gateways: str,
        *,
        call_s: float = 30.0,
        patience_s: float = 60.0,
        credentials: grpc.ChannelCredentials | None = None,
        api_key: str = "",
        plaintext_key: bool = False,
    ) -> None:
        self._targets = read_targets(gateways)
        self._metadata = key_metadata(
            api_key,
            self._targets,
            encrypted=credentials is not None,
            plaintext_key=plaintext_key,
        )
        self._call_s, self.patience_s = call_s, patience_s
        self._credentials = credentials
        self._channels: list[grpc.aio.Channel] = []
        self._turn = 0

    async def __aenter__(self) -> FlashTalkClient:
        for target in self._targets:
            options = [*_OPTIONS, *proxy_options(target)]
            self._channels.append(
                grpc.aio.insecure_channel(target, options=options)  # noqa: TID251 - as it decides
                if self._credentials is None
                else grpc.aio.secure_channel(target, self._credentials, options=options)
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels))
        self._channels.clear()

    async def create_session(
        self,
        portrait: Portrait,
        *,
        prompt: str = "",
        seed: int = 0,
        size: tuple[int, int] | None = None,
        video_codec: media_pb2.VideoCodec = media_pb2.VIDEO_CODEC_H264,
        idle_policy: pb.IdlePolicy = pb.IDLE_POLICY_MODEL,
        pacing: pb.Pacing = pb.PACING_REAL_TIME,
        ttl_s: float | None = None,
        request_id: str | None = None,
        wait_for_slot: bool = False,
    ) -> pb.Session:
        """Creates a session; retries use the same request id, so that it is created once.

        Args:
            portrait: path of a PNG, JPEG or WebP file (str or Path), or its bytes.
            prompt: description of the scene; empty for the model's default.
            seed: seed of the noise.
            size: width and height in pixels; None for the model's default.
            video_codec, idle_policy, pacing: see the protocol.
            ttl_s: lifetime without a stream.
            request_id: idempotency key, so that another process can repeat the request.
            wait_for_slot: retries for up to ``patience_s`` while there is no capacity.

        Raises:
            ClientError: rejected, or no gateway responded; RESOURCE_EXHAUSTED has a retry delay.
            InputError: an unreadable file.
            TypeError: a portrait of another type.
        """
        data = await portrait_bytes(portrait)
        request = pb.CreateSessionRequest(
            request_id=request_id or str(uuid.uuid4()),
            portrait=data,
            prompt=prompt,
            seed=seed,
            video_codec=video_codec,
            idle_policy=idle_policy,
            pacing=pacing,
        )
        if size is not None:
            request.size.width_px, request.size.height_px = size
        if ttl_s is not None:
            request.ttl.FromMilliseconds(round(1_000 * ttl_s))
        response = await self._call(
            lambda stub: stub.CreateSession(request, timeout=self._call_s), wait_for_slot
        )
        session: pb.Session = response.session
        return session

    async def get_session(self, session_id: SessionName) -> pb.Session:
        """Returns the current state of a session. Raises ClientError."""
        request = pb.GetSessionRequest(session_id=session_name(session_id))
        response = await self._call(lambda stub: stub.GetSession(request, timeout=self._call_s))
        session: pb.Session = response.session
        return session

    async def sessions(self) -> AsyncIterator[pb.Session]:
        """Yields all sessions, or those of the client's key, oldest first. Raises ClientError."""
        request = pb.ListSessionsRequest()
        while True:
            response = await self._call(
                lambda stub: stub.ListSessions(request, timeout=self._call_s)
            )
            for session in response.sessions:
                yield session
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def delete_session(self, session_id: SessionName) -> None:
        """Deletes a session; a missing session is no error. Raises ClientError."""
        request = pb.DeleteSessionRequest(session_id=session_name(session_id))
        await self._call(lambda stub: stub.DeleteSession(request, timeout=self._call_s))

    async def interrupt_session(
        self, session_id: SessionName, played_frames: int | None = None
    ) -> stream_pb2.Interrupted:
        """Interrupts a session without its stream. Raises ClientError."""
        request = pb.InterruptSessionRequest(
            session_id=session_name(session_id),
            interrupt_id=str(uuid.uuid4()),
            played_frames=played_frames,
        )
        response = await self._call(
            lambda stub: stub.InterruptSession(request, timeout=self._call_s)
        )
        interrupted: stream_pb2.Interrupted = response.interrupted
        return interrupted

    def stream(self, session: pb.Session, *, resume: bool = False) -> SessionStream:
        """Returns the stream of a session: an async context manager and iterator over events.

        Args:
            session: a session from ``create_session`` or ``get_session``.
            resume: takes over a stream that is open elsewhere, from its next frame on; without it
                iterating over such a session raises ClientError (SESSION_BUSY).
        """
        return SessionStream(self, session, resume)

    def stub(self) -> Any:
        """The stub of the current gateway."""
        stub = pb_grpc.SessionServiceStub(self._channels[self._turn % len(self._channels)])
        return KeyedStub(stub, self._metadata) if self._metadata else stub

    def failed(self, error: grpc.aio.AioRpcError) -> ClientError:
        """Converts the error of a call to the current gateway."""
        return ClientError.of(error, self._targets[self._turn % len(self._targets)])

    def turn(self) -> None:
        """Switches to the next gateway."""
        self._turn += 1

    async def _call(
        self, call: Callable[[Any], Awaitable[ResponseT]], wait_for_slot: bool = False
    ) -> ResponseT:
        """Calls gateways in turn, as long as the next attempt begins within ``patience_s``."""

        async def attempt() -> ResponseT:
            return await call(self.stub())

        loop = asyncio.get_running_loop()
        until_s = loop.time() + self.patience_s
        waited_for = _FULL if wait_for_slot else frozenset[Reason]()
        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: _passes(error, waited_for)),
            stop=lambda state: loop.time() + state.upcoming_sleep > until_s,
            wait=lambda state: _pause_s(state, waited_for),
            before_sleep=lambda _: self.turn(),
            sleep=asyncio.sleep,
            reraise=True,
        )
        try:
            return await retrying(attempt)
        except grpc.aio.AioRpcError as error:
            raise self.failed(error) from error


def _passes(error: BaseException, waited_for: frozenset[Reason]) -> bool:
    """Whether a call is made again; ``waited_for``: reasons that pass, for who waits."""
    if not isinstance(error, grpc.aio.AioRpcError):
        return False
    return reason_of(error) in waited_for or passes(error)


def _pause_s(state: RetryCallState, waited_for: frozenset[Reason]) -> float:
    """Before the next attempt; what the server says for a reason that is waited for."""
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, grpc.aio.AioRpcError) and reason_of(error) in waited_for:
        return retry_after_s(error) or _LONGEST_PAUSE_S
    return _PAUSE(state)


def read_targets(gateways: str) -> list[str]:
    """Parses ``HOST:PORT,[IPV6]:PORT`` to a list. Raises InputError for anything else."""
    targets = [target.strip() for target in gateways.split(",") if target.strip()]
    for target in targets or [gateways]:
        if read_host_port(target) is None:
            raise InputError("gateway", target, "must be HOST:PORT, without a scheme")
    return targets
