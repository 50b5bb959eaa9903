"""Errors of the client."""

from __future__ import annotations

from typing import Any

import grpc

from flashtalk.errors import FlashTalkError
from flashtalk.wire.proxies import proxy_of
from flashtalk.wire.status import Reason, field_of, reason_of, retry_after_s

_PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
# Without details from the server these codes mean a lost connection.
_BROKEN = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED})


def passes(error: grpc.aio.AioRpcError) -> bool:
    """Whether a retry, possibly at another gateway, may succeed."""
    code = error.code()
    return code in _PASSING or (code in _BROKEN and reason_of(error) is None)


class ClientError(FlashTalkError):
    """A call that failed and is not retried.

    Args:
        code: status code.
        message: text for people.
        reason: machine-readable reason, if the server is a FlashTalk service.
        field: the invalid field of the request, if any.
        retry_after_s: delay before a retry, if the server set one.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: Reason | None = None,
        field: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.field = code, reason, field
        self.retry_after_s = retry_after_s

    @classmethod
    def of(cls, error: grpc.aio.AioRpcError, target: str = "") -> ClientError:
        """Converts the error of a call; for a lost connection it also names the proxy.

        Args:
            error: error of the call.
            target: HOST:PORT of the gateway, if known.
        """
        code = error.code()
        message = error.details() or code.name.lower().replace("_", " ")
        if reason_of(error) is None and (proxy := proxy_of(target) if target else ""):
            message += f" ({target} through proxy {proxy}, which the environment sets)"
        return cls(
            code,
            message,
            reason=reason_of(error),
            field=field_of(error),
            retry_after_s=retry_after_s(error),
        )


async def raise_status(call: Any) -> None:
    """Raises the error of a call, unless its status is OK."""
    code = await call.code()
    if code is not grpc.StatusCode.OK:
        raise grpc.aio.AioRpcError(
            code,
            await call.initial_metadata(),
            await call.trailing_metadata(),
            details=await call.details(),
        )
