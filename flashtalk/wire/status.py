"""Reads the rich status of a failed call: reason, field and retry delay."""

from __future__ import annotations

import enum
from typing import Any

import grpc
from google.protobuf import message as protobuf
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "flashtalk"
DETAILS_KEY = "grpc-status-details-bin"


class Reason(enum.StrEnum):
    """Machine-readable reasons of failed calls; docs/protocol.md says how to handle each."""

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
    NO_PROMPT = "NO_PROMPT"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    DRAINING = "DRAINING"
    CONDITIONING_MISSING = "CONDITIONING_MISSING"
    STALE_EPOCH = "STALE_EPOCH"
    QUEUE_FULL = "QUEUE_FULL"
    DEADLINE_PASSED = "DEADLINE_PASSED"
    NOT_READY = "NOT_READY"
    BAD_KEY = "BAD_KEY"
    KEY_LIMIT = "KEY_LIMIT"
    INTERNAL = "INTERNAL"


def status_of(error: grpc.RpcError) -> status_pb2.Status | None:
    """Returns the rich status of a failed call, if any."""
    for key, value in _trailing(error):
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except protobuf.DecodeError:
                return None
    return None


def reason_of(error: grpc.RpcError) -> Reason | None:
    """Returns the reason of a failed call, if the server is a FlashTalk service."""
    info = error_details_pb2.ErrorInfo()
    if _unpack(error, info) and info.domain == DOMAIN:
        return Reason(info.reason) if info.reason in Reason.__members__ else None
    return None


def field_of(error: grpc.RpcError) -> str | None:
    """Returns the invalid field of the request, if any."""
    bad = error_details_pb2.BadRequest()
    if _unpack(error, bad) and bad.field_violations:
        return str(bad.field_violations[0].field)
    return None


def retry_after_s(error: grpc.RpcError) -> float | None:
    """Returns the retry delay, if the server set one."""
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
