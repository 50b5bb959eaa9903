"""Connections to other services: message limits, keepalive, and the trace that goes with calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from flashtalk.serving.certificates import Certificates
from flashtalk.serving.tracing import outgoing_metadata
from flashtalk.wire.proxies import NO_PROXY

MIB = 2**20


@dataclass(frozen=True)
class ChannelLimits:
    """What both ends of a connection agree on.

    Args:
        message_bytes: largest message, either way.
        keepalive_s: silence before a ping; servers allow pings half as far apart.
        keepalive_timeout_s: silence after it before the connection counts as lost.
    """

    message_bytes: int = 64 * MIB
    keepalive_s: float = 20.0
    keepalive_timeout_s: float = 5.0

    def client_options(self) -> list[tuple[str, int]]:
        """For a channel.

        Services reach each other directly: a proxy in the environment is for the way out.
        """
        return [
            NO_PROXY,
            ("grpc.max_send_message_length", self.message_bytes),
            ("grpc.max_receive_message_length", self.message_bytes),
            ("grpc.keepalive_time_ms", int(self.keepalive_s * 1_000)),
            ("grpc.keepalive_timeout_ms", int(self.keepalive_timeout_s * 1_000)),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            # How long one attempt to connect may take, whatever its name says: a busy machine
            # answers late. Where nobody listens, attempts fail at once all the same.
            ("grpc.min_reconnect_backoff_ms", 5_000),
            ("grpc.max_reconnect_backoff_ms", 1_000),
        ]

    def server_options(self) -> list[tuple[str, int]]:
        """For a server."""
        return [
            ("grpc.max_send_message_length", self.message_bytes),
            ("grpc.max_receive_message_length", self.message_bytes),
            ("grpc.keepalive_time_ms", int(self.keepalive_s * 1_000)),
            ("grpc.keepalive_timeout_ms", int(self.keepalive_timeout_s * 1_000)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", int(self.keepalive_s * 500)),
            ("grpc.http2.max_ping_strikes", 0),
            ("grpc.so_reuseport", 0),
        ]


@dataclass(frozen=True)
class ChannelTls:
    """How a channel is encrypted.

    Args:
        certificates: whom it believes, and what it shows; None takes the public authorities.
        name: that the other end's certificate carries; empty: the host of the target. Addresses
            come from DNS, names do not change with them.
    """

    certificates: Certificates
    name: str = ""

    def credentials(self) -> grpc.ChannelCredentials:
        """As gRPC takes them."""
        own = self.certificates
        return grpc.ssl_channel_credentials(own.authorities, own.key, own.certificate)

    def options(self) -> list[tuple[str, str]]:
        """Of the channel."""
        return [("grpc.ssl_target_name_override", self.name)] if self.name else []


def open_channel(
    target: str, limits: ChannelLimits | None = None, tls: ChannelTls | None = None
) -> grpc.aio.Channel:
    """A channel to HOST:PORT; whoever opens it closes it.

    With ``tls`` it never speaks in the clear, whatever the other end offers.
    """
    options = (limits or ChannelLimits()).client_options()
    if tls is None:
        return TracedChannel(
            grpc.aio.insecure_channel(target, options=options)  # noqa: TID251 - with NO_PROXY
        )
    return TracedChannel(
        grpc.aio.secure_channel(target, tls.credentials(), options=[*options, *tls.options()])
    )


class TracedChannel(grpc.aio.Channel):
    """A channel whose calls carry the trace that they are part of.

    The metadata are given with the call: gRPC's interceptors would do it too, at the price of two
    tasks and a queue for every call.

    Args:
        inner: the channel that it is.
    """

    def __init__(self, inner: grpc.aio.Channel) -> None:
        self._inner = inner

    async def __aenter__(self) -> TracedChannel:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._inner.close()

    async def close(self, grace: float | None = None) -> None:
        """Closes the connection; this and what follows is the interface of ``grpc.aio.Channel``."""
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._inner.channel_ready()

    def unary_unary(self, *method: Any, **how: Any) -> Any:
        return _traced(self._inner.unary_unary(*method, **how))

    def unary_stream(self, *method: Any, **how: Any) -> Any:
        return _traced(self._inner.unary_stream(*method, **how))

    def stream_unary(self, *method: Any, **how: Any) -> Any:
        return _traced(self._inner.stream_unary(*method, **how))

    def stream_stream(self, *method: Any, **how: Any) -> Any:
        return _traced(self._inner.stream_stream(*method, **how))


def _traced(begin: Callable[..., Any]) -> Callable[..., Any]:
    """A call that is begun with the trace among its metadata."""

    def traced(*request: Any, metadata: Sequence[Any] | None = None, **how: Any) -> Any:
        return begin(*request, metadata=(*(metadata or ()), *outgoing_metadata()), **how)

    return traced
