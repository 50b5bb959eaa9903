"""Errors to rich statuses; the way back is in ``flashtalk.wire.status``.

A status carries google.rpc.ErrorInfo (its reason is for programs), for a bad field also
google.rpc.BadRequest, and google.rpc.RetryInfo where it is worth trying again. An exception that
nobody thought of becomes INTERNAL with an incident number; its text stays in the log.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import grpc
from google.protobuf import message as protobuf
from google.rpc import error_details_pb2, status_pb2

from flashtalk.errors import FlashTalkError, InputError
from flashtalk.wire.status import (
    DETAILS_KEY,
    DOMAIN,
    Reason,
    field_of,
    reason_of,
    retry_after_s,
    status_of,
)

__all__ = [
    "DETAILS_KEY",
    "DOMAIN",
    "Reason",
    "ServiceError",
    "field_of",
    "reason_of",
    "retry_after_s",
    "status_of",
    "to_service_error",
    "to_status",
]

_SHOWN_VALUE = 200


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
