"""What a caller of the client is told."""

from __future__ import annotations

import grpc

from flashtalk.errors import FlashTalkError
from flashtalk.wire.proxies import proxy_of
from flashtalk.wire.status import Reason, field_of, reason_of, retry_after_s

_PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
# Without a word from the other side these are the connection's own end.
_BROKEN = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED})


def passes(error: grpc.aio.AioRpcError) -> bool:
    """Whether another attempt, at another gateway maybe, may do better."""
    code = error.code()
    return code in _PASSING or (code in _BROKEN and reason_of(error) is None)


class ClientError(FlashTalkError):
    """A call that failed for good.

    Args:
        code: the status.
        message: for people.
        reason: for programs, if the other side is one of ours.
        field: of the request, if one is to blame.
        retry_after_s: when it is worth trying again, if the server said so.
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
        """What a failed call means; of a lost connection also which proxy it went through.

        Args:
            error: of the call.
            target: HOST:PORT of the gateway, if it is known.
        """
        code = error.code()
        message = error.details() or code.name.lower().replace("_", " ")
        if reason_of(error) is None and (proxy := proxy_of(target) if target else ""):
            message += f" ({target} was tried through the proxy {proxy} of the environment)"
        return cls(
            code,
            message,
            reason=reason_of(error),
            field=field_of(error),
            retry_after_s=retry_after_s(error),
        )
