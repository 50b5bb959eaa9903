"""``SessionService`` over gRPC: requests to calls, values to messages, errors to statuses."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc

from flashtalk.errors import FlashTalkError, InputError
from flashtalk.serving.errors import Reason, ServiceError
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import session_service_pb2_grpc as pb_grpc
from flashtalk.v1 import stream_pb2
from services.gateway.keys.door import Door
from services.gateway.keys.entries import ApiKey
from services.gateway.limits import GatewayLimits
from services.gateway.sessions.creation import check_creation, checked_session_id
from services.gateway.sessions.desk import SessionDesk
from services.gateway.sessions.views import session_view
from services.gateway.store.records import SessionRecord
from services.gateway.store.session_store import (
    FenceLost,
    KeyFull,
    RequestConflict,
    SessionBusy,
    SessionGone,
    StoreError,
)
from services.gateway.stream.host import StreamHost
from services.gateway.stream.interruption import as_message
from services.gateway.stream.reader import checked_interrupt

_DEFAULT_PAGE, _LARGEST_PAGE = 100, 1_000
_RETRY_AFTER_S = 1.0
_KINDS: tuple[tuple[type[FlashTalkError], grpc.StatusCode, Reason], ...] = (
    (SessionGone, grpc.StatusCode.NOT_FOUND, Reason.SESSION_GONE),
    (SessionBusy, grpc.StatusCode.FAILED_PRECONDITION, Reason.SESSION_BUSY),
    (FenceLost, grpc.StatusCode.ABORTED, Reason.SUPERSEDED),
    (RequestConflict, grpc.StatusCode.ALREADY_EXISTS, Reason.REQUEST_CONFLICT),
    (StoreError, grpc.StatusCode.UNAVAILABLE, Reason.STORE_UNAVAILABLE),
)
_FIELDS = {Reason.SESSION_GONE: "session_id", Reason.REQUEST_CONFLICT: "request_id"}

ResultT = TypeVar("ResultT")


def as_service_error(error: FlashTalkError) -> FlashTalkError:
    """Converts errors of the store to those of the protocol; passes on others."""
    if isinstance(error, KeyFull):
        return ServiceError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            Reason.KEY_LIMIT,
            str(error),
            retry_after_s=error.retry_after_s,
            metadata={"limit": error.limit},
        )
    for kind, code, reason in _KINDS:
        if isinstance(error, kind):
            delay_s = _RETRY_AFTER_S if kind is StoreError else None
            return ServiceError(
                code, reason, str(error), field=_FIELDS.get(reason), retry_after_s=delay_s
            )
    return error


async def _with_service_errors(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    try:
        return await work
    except FlashTalkError as error:
        raise as_service_error(error) from error


class SessionServicer(pb_grpc.SessionServiceServicer):
    """The public service of one gateway.

    Sessions belong to the caller that ``door`` authenticates; sessions of others are not found.
    """

    def __init__(
        self, desk: SessionDesk, host: StreamHost, limits: GatewayLimits, door: Door
    ) -> None:
        self._desk = desk
        self._door = door
        self._host = host
        self._limits = limits

    async def CreateSession(
        self, request: pb.CreateSessionRequest, context: Any
    ) -> pb.CreateSessionResponse:
        """Creates a session, or returns the one of a repeated request."""
        caller = self._caller(context)
        if self._host.draining:
            raise ServiceError(
                grpc.StatusCode.UNAVAILABLE,
                Reason.DRAINING,
                "this gateway is shutting down; use another one",
                retry_after_s=_RETRY_AFTER_S,
            )
        creation = check_creation(request, self._limits)
        record = await _with_service_errors(self._desk.create(creation, caller))
        return pb.CreateSessionResponse(session=self._view(record))

    async def GetSession(
        self, request: pb.GetSessionRequest, context: Any
    ) -> pb.GetSessionResponse:
        """Returns a session."""
        caller = self._caller(context)
        record = await _with_service_errors(self._desk.get(_named(request.session_id), caller))
        return pb.GetSessionResponse(session=self._view(record))

    async def ListSessions(
        self, request: pb.ListSessionsRequest, context: Any
    ) -> pb.ListSessionsResponse:
        """Returns a page of the caller's sessions, oldest first."""
        caller = self._caller(context)
        size = request.page_size or _DEFAULT_PAGE
        if size > _LARGEST_PAGE:
            raise InputError("page_size", size, f"1 to {_LARGEST_PAGE}")
        page = await _with_service_errors(
            self._desk.store.page(size, request.page_token, caller.name)
        )
        views = [self._view(record) for record in page.records]
        return pb.ListSessionsResponse(sessions=views, next_page_token=page.next_token)

    async def DeleteSession(
        self, request: pb.DeleteSessionRequest, context: Any
    ) -> pb.DeleteSessionResponse:
        """Deletes a session; idempotent."""
        caller = self._caller(context)
        await _with_service_errors(self._desk.delete(_named(request.session_id), caller))
        return pb.DeleteSessionResponse()

    async def InterruptSession(
        self, request: pb.InterruptSessionRequest, context: Any
    ) -> pb.InterruptSessionResponse:
        """Interrupts the session's stream, on any gateway; returns the outcome."""
        caller = self._caller(context)
        message = stream_pb2.Interrupt(interrupt_id=request.interrupt_id)
        if request.HasField("played_frames"):
            message.played_frames = request.played_frames
        asked = checked_interrupt(message)
        outcome = await _with_service_errors(
            self._desk.interrupt(_named(request.session_id), asked, caller)
        )
        return pb.InterruptSessionResponse(interrupted=as_message(outcome))

    async def Stream(self, request_iterator: Any, context: Any) -> None:
        """Serves a stream; reads and writes through the context, so that one task owns it."""
        caller = self._caller(context)
        await _with_service_errors(self._host.serve(context.read, context.write, caller))

    def _caller(self, context: Any) -> ApiKey:
        return self._door.caller(context.invocation_metadata())

    def _view(self, record: SessionRecord) -> pb.Session:
        return session_view(record, self._limits)


def _named(session_id: str) -> str:
    return checked_session_id("session_id", session_id)
