"""Authentication: checks the key in a call's metadata, and rejects calls without a valid key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import grpc

from flashtalk.serving.errors import DETAILS_KEY, Reason, ServiceError, to_status
from services.gateway.keys.entries import ANYBODY, ApiKey
from services.gateway.keys.ring import KeyRing

_HEADER, _SCHEME = "authorization", "bearer "
_LONGEST = 1_024
_OPEN = "/grpc.health.v1."
_UNTOLD = "/grpc.reflection."
"""For these calls no other interceptor converts an error to a status."""
_MAKE: dict[tuple[bool, bool], Callable[..., Any]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}

Metadata = Iterable[tuple[str, str | bytes]] | None


class Door:
    """Authenticates callers.

    Args:
        ring: the keys; None: callers are not authenticated and have no name.
    """

    def __init__(self, ring: KeyRing | None = None) -> None:
        self._ring = ring

    @classmethod
    def of(cls, path: Path | None) -> Door:
        """Creates a door with a key file. Raises InputError for an invalid file."""
        return cls(KeyRing(path) if path is not None else None)

    @property
    def locked(self) -> bool:
        """Whether callers need a key."""
        return self._ring is not None

    def caller(self, metadata: Metadata) -> ApiKey:
        """Returns the caller's key. Raises ServiceError (UNAUTHENTICATED, BAD_KEY) if invalid."""
        if self._ring is None:
            return ANYBODY
        shown = [value for name, value in metadata or () if name.lower() == _HEADER]
        if not shown:
            raise bad_key("API key required: send the metadata `authorization: Bearer KEY`")
        text = shown[0]
        if len(shown) > 1 or not isinstance(text, str) or len(text) > _LONGEST:
            raise bad_key("exactly one authorization required: Bearer KEY")
        if not text.lower().startswith(_SCHEME):
            raise bad_key("unsupported authorization scheme: must be Bearer KEY")
        found = self._ring.find(text[len(_SCHEME) :].strip())
        if found is None:
            raise bad_key("unknown API key")
        return found

    def admits(self, caller: ApiKey) -> bool:
        """Whether a caller's key is still valid."""
        return self._ring is None or self._ring.holds(caller)

    def refresh(self) -> None:
        """Reads the key file again if it has changed."""
        if self._ring is not None:
            self._ring.refresh()


def bad_key(why: str) -> ServiceError:
    """The error for a call without a valid key; it never contains the received key."""
    return ServiceError(grpc.StatusCode.UNAUTHENTICATED, Reason.BAD_KEY, why)


class KeyInterceptor(grpc.aio.ServerInterceptor):
    """Rejects every call without a valid key, except health checks."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Returns the handler of a call, or one that rejects it."""
        handler = await continuation(details)
        if handler is None or details.method.startswith(_OPEN):
            return handler
        try:
            self._door.caller(details.invocation_metadata)
        except ServiceError as error:
            return _refusing(handler, error, aborts=details.method.startswith(_UNTOLD))
        return handler


def _refusing(handler: Any, error: ServiceError, *, aborts: bool) -> Any:
    async def refuse(request: Any, context: Any) -> None:
        if aborts:
            trailing = ((DETAILS_KEY, to_status(error).SerializeToString()),)
            await context.abort(error.code, str(error), trailing_metadata=trailing)
        raise error

    make = _MAKE[handler.request_streaming, handler.response_streaming]
    return make(refuse, handler.request_deserializer, handler.response_serializer)
