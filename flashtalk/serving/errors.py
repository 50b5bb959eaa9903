"""Converts errors to rich statuses; ``flashtalk.wire.status`` parses them.

A status carries google.rpc.ErrorInfo (a machine-readable reason), for an invalid field also
google.rpc.BadRequest, and for retryable errors google.rpc.RetryInfo. An unexpected exception
becomes INTERNAL with an incident number; its text is only in the log.
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
    """An error that ends a call with a status.

    Args:
        code: status code.
        reason: machine-readable reason.
        message: text for people; without internals of the service.
        field: the invalid field of the request, if any.
        retry_after_s: delay before a retry.
        metadata: further machine-readable details.
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
    """Converts any error to a ServiceError; the text of unknown errors is removed."""
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
    """Returns the rich status of an error."""
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
