"""Errors to rich statuses and back.

A status carries google.rpc.ErrorInfo (its reason is for programs), for a bad field also
google.rpc.BadRequest, and google.rpc.RetryInfo where it is worth trying again. An exception that
nobody thought of becomes INTERNAL with an incident number; its text stays in the log.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf import message as protobuf
from google.rpc import error_details_pb2, status_pb2

from flashtalk.errors import FlashTalkError, InputError

DOMAIN = "flashtalk"
DETAILS_KEY = "grpc-status-details-bin"
_SHOWN_VALUE = 200


class Reason(enum.StrEnum):
    """Why a call failed, for programs; docs/protocol.md says what to do about each."""

    INVALID_FIELD = "INVALID_FIELD"
    SESSION_GONE = "SESSION_GONE"
    SESSION_BUSY = "SESSION_BUSY"
    SUPERSEDED = "SUPERSEDED"
    REQUEST_CONFLICT = "REQUEST_CONFLICT"
    REPLAY_GONE = "REPLAY_GONE"
    NO_SLOT = "NO_SLOT"
    NO_WORKER = "NO_WORKER"
    NO_STREAM = "NO_STREAM"
    NO_ANSWER = "NO_ANSWER"
    WORKER_LOST = "WORKER_LOST"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    DRAINING = "DRAINING"
    CONDITIONING_MISSING = "CONDITIONING_MISSING"
    STALE_EPOCH = "STALE_EPOCH"
    QUEUE_FULL = "QUEUE_FULL"
    DEADLINE_PASSED = "DEADLINE_PASSED"
    NOT_READY = "NOT_READY"
    INTERNAL = "INTERNAL"


class ServiceError(FlashTalkError):
    """A call that ends with a status.

    Args:
        code: the status.
        reason: for programs.
        message: for people; holds nothing that only operators may know.
        field: of the request, if one is to blame.
        retry_after_s: when to try again.
        metadata: more for programs.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: Reason,
        message: str,
        *,
        field: str | None = None,
        retry_after_s: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.field = field
        self.retry_after_s = retry_after_s
        self.metadata = dict(metadata or {})


def to_service_error(error: BaseException) -> ServiceError:
    """Any error as one that ends a call; unknown ones lose their text."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, InputError):
        value = str(error.value)[:_SHOWN_VALUE]
        return ServiceError(
            grpc.StatusCode.INVALID_ARGUMENT,
            Reason.INVALID_FIELD,
            f"{error.field}: {value}: {error.limit}",
            field=error.field,
            metadata={"field": error.field, "value": value, "limit": error.limit},
        )
    incident = secrets.token_hex(6)
    return ServiceError(
        grpc.StatusCode.INTERNAL,
        Reason.INTERNAL,
        f"internal error, incident {incident}",
        metadata={"incident": incident},
    )


def to_status(error: ServiceError) -> status_pb2.Status:
    """The rich form."""
    status = status_pb2.Status(code=error.code.value[0], message=str(error))
    info = error_details_pb2.ErrorInfo(
        reason=error.reason.value, domain=DOMAIN, metadata=error.metadata
    )
    details: list[protobuf.Message] = [info]
    if error.field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=str(error), reason=error.reason.value
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        details.append(retry)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def status_of(error: grpc.RpcError) -> status_pb2.Status | None:
    """The rich status that came with a failed call, if one did."""
    for key, value in _trailing(error):
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except protobuf.DecodeError:
                return None
    return None


def reason_of(error: grpc.RpcError) -> Reason | None:
    """Why a call failed, if the other side is one of ours."""
    info = error_details_pb2.ErrorInfo()
    if _unpack(error, info) and info.domain == DOMAIN:
        return Reason(info.reason) if info.reason in Reason.__members__ else None
    return None


def field_of(error: grpc.RpcError) -> str | None:
    """The field that was to blame, if any."""
    bad = error_details_pb2.BadRequest()
    if _unpack(error, bad) and bad.field_violations:
        return str(bad.field_violations[0].field)
    return None


def retry_after_s(error: grpc.RpcError) -> float | None:
    """When to try again, if the other side said so."""
    retry = error_details_pb2.RetryInfo()
    if _unpack(error, retry):
        return float(retry.retry_delay.ToNanoseconds() / 1e9)
    return None


def _unpack(error: grpc.RpcError, wanted: protobuf.Message) -> bool:
    status = status_of(error)
    return status is not None and any(detail.Unpack(wanted) for detail in status.details)


def _trailing(error: grpc.RpcError) -> list[tuple[str, Any]]:
    read = getattr(error, "trailing_metadata", None)
    return list(read() or ()) if callable(read) else []
