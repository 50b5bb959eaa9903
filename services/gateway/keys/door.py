"""Who comes in: the key in a call's metadata, and what happens to calls without a good one."""

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
"""Around these calls nobody else turns an error into a status."""
_MAKE: dict[tuple[bool, bool], Callable[..., Any]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}

Metadata = Iterable[tuple[str, str | bytes]] | None


class Door:
    """Knows who calls.

    Args:
        ring: the keys; None: everybody comes in, and nobody has a name.
    """

    def __init__(self, ring: KeyRing | None = None) -> None:
        self._ring = ring

    @classmethod
    def of(cls, path: Path | None) -> Door:
        """With the keys of a file. Raises InputError for one that cannot be used."""
        return cls(KeyRing(path) if path is not None else None)

    @property
    def locked(self) -> bool:
        """Whether a key is asked for."""
        return self._ring is not None

    def caller(self, metadata: Metadata) -> ApiKey:
        """Who calls. Raises ServiceError (UNAUTHENTICATED, BAD_KEY) without a good key."""
        if self._ring is None:
            return ANYBODY
        shown = [value for name, value in metadata or () if name.lower() == _HEADER]
        if not shown:
            raise bad_key("an API key is needed: authorization: Bearer KEY")
        text = shown[0]
        if len(shown) > 1 or not isinstance(text, str) or len(text) > _LONGEST:
            raise bad_key("one authorization is needed: Bearer KEY")
        if not text.lower().startswith(_SCHEME):
            raise bad_key("an authorization of another kind is needed: Bearer KEY")
        found = self._ring.find(text[len(_SCHEME) :].strip())
        if found is None:
            raise bad_key("this API key is not known here")
        return found

    def admits(self, caller: ApiKey) -> bool:
        """Whether somebody who came in may stay."""
        return self._ring is None or self._ring.holds(caller)

    def refresh(self) -> None:
        """Looks whether the keys have changed."""
        if self._ring is not None:
            self._ring.refresh()


def bad_key(why: str) -> ServiceError:
    """What a call without a good key ends with; never says what was shown."""
    return ServiceError(grpc.StatusCode.UNAUTHENTICATED, Reason.BAD_KEY, why)


class KeyInterceptor(grpc.aio.ServerInterceptor):
    """Refuses every call without a good key, health alone excepted."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """See the class."""
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
