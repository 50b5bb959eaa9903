"""Connections to other services: message limits, keepalive, and the trace that goes with calls."""

from __future__ import annotations

from collections.abc import Callable
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
    tracing: list[grpc.aio.ClientInterceptor] = [_TracedUnary(), _TracedStream()]
    if tls is None:
        return grpc.aio.insecure_channel(  # noqa: TID251 - with NO_PROXY
            target, options=options, interceptors=tracing
        )
    return grpc.aio.secure_channel(
        target, tls.credentials(), options=[*options, *tls.options()], interceptors=tracing
    )


def _traced(details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()), *outgoing_metadata())
    return details._replace(metadata=metadata)  # type: ignore[attr-defined, no-any-return]


class _TracedUnary(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(_traced(details), request)


class _TracedStream(grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(_traced(details), request)
