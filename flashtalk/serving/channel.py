"""Connections to other services: message limits, keepalive, and trace propagation."""

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
    """Limits that both ends of a connection use.

    Args:
        message_bytes: maximum size of a message, in both directions.
        keepalive_s: idle time before a ping; servers accept pings at half of this interval.
        keepalive_timeout_s: time to wait for its response before the connection counts as lost.
    """

    message_bytes: int = 64 * MIB
    keepalive_s: float = 20.0
    keepalive_timeout_s: float = 5.0

    def client_options(self) -> list[tuple[str, int]]:
        """Returns the options of a channel.

        Services connect to each other directly: a proxy in the environment is not used.
        """
        return [
            NO_PROXY,
            ("grpc.max_send_message_length", self.message_bytes),
            ("grpc.max_receive_message_length", self.message_bytes),
            ("grpc.keepalive_time_ms", int(self.keepalive_s * 1_000)),
            ("grpc.keepalive_timeout_ms", int(self.keepalive_timeout_s * 1_000)),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            # Despite its name this is the timeout of one connection attempt: a busy machine
            # responds late. Without a listener, attempts still fail at once.
            ("grpc.min_reconnect_backoff_ms", 5_000),
            ("grpc.max_reconnect_backoff_ms", 1_000),
        ]

    def server_options(self) -> list[tuple[str, int]]:
        """Returns the options of a server."""
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
    """TLS settings of a channel.

    Args:
        certificates: own certificate and trusted authorities; None for the public authorities.
        name: expected name in the other end's certificate; empty: the host of the target.
            Addresses come from DNS and may change; the name does not.
    """

    certificates: Certificates
    name: str = ""

    def credentials(self) -> grpc.ChannelCredentials:
        """Returns the credentials for gRPC."""
        own = self.certificates
        return grpc.ssl_channel_credentials(own.authorities, own.key, own.certificate)

    def options(self) -> list[tuple[str, str]]:
        """Returns the options of the channel."""
        return [("grpc.ssl_target_name_override", self.name)] if self.name else []


def open_channel(
    target: str, limits: ChannelLimits | None = None, tls: ChannelTls | None = None
) -> grpc.aio.Channel:
    """Opens a channel to HOST:PORT; the caller closes it.

    With ``tls`` it never falls back to plaintext, whatever the other end offers.
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
    """A channel whose calls carry the current trace.

    The metadata are passed with the call: gRPC's interceptors would need two tasks and a queue for
    every call.

    Args:
        inner: the wrapped channel.
    """

    def __init__(self, inner: grpc.aio.Channel) -> None:
        self._inner = inner

    async def __aenter__(self) -> TracedChannel:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._inner.close()

    async def close(self, grace: float | None = None) -> None:
        """Closes the connection; this and the next methods are those of ``grpc.aio.Channel``."""
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
    """Wraps a call so that its metadata contain the trace."""

    def traced(*request: Any, metadata: Sequence[Any] | None = None, **how: Any) -> Any:
        return begin(*request, metadata=(*(metadata or ()), *outgoing_metadata()), **how)

    return traced
