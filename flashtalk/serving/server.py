"""One service as a process: port, health, reflection, and graceful shutdown.

After SIGTERM, SIGINT or SIGHUP health reports NOT_SERVING, the app drains, running calls get the
rest of the grace period, then the app releases its resources. A second signal ends it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from flashtalk.errors import FlashTalkError, InputError
from flashtalk.serving import metrics
from flashtalk.serving.certificates import server_credentials
from flashtalk.serving.channel import ChannelLimits
from flashtalk.serving.collector import settle_collector
from flashtalk.serving.interceptor import CallInterceptor
from flashtalk.serving.logs import get_logger, set_up_logs
from flashtalk.serving.parent import end_with_parent
from flashtalk.serving.port_file import write_port
from flashtalk.serving.settings import EXIT_SETTINGS, ServiceSettings, start_up_error
from flashtalk.serving.tracing import end_tracing, set_up_tracing
from flashtalk.terminal import prepare_streams, stopping_signals

_LOG = get_logger(__name__)
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

Register = Callable[[grpc.aio.Server], Sequence[str]]


class Lifecycle(Protocol):
    """Start and end of a service."""

    async def start(self) -> None:
        """Prepares the service for the first call, including warm-up."""

    async def drain(self, grace_s: float) -> None:
        """Finishes running work, or hands it over, within the grace period."""

    async def stop(self) -> None:
        """Releases all resources; no call runs any more."""


class App(Lifecycle, Protocol):
    """A service."""

    @property
    def interceptors(self) -> Sequence[grpc.aio.ServerInterceptor]:
        """Returns interceptors of the service for every call."""

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds servicers; returns the full names of their services."""


async def serve(
    settings: ServiceSettings,
    register: Register,
    lifecycle: Lifecycle,
    inner: Sequence[grpc.aio.ServerInterceptor] = (),
    settled: Callable[[], None] = lambda: None,
) -> None:
    """Serves until a stop signal.

    The port is open from the beginning, so that health can be checked. Health reports SERVING, and
    the port file is written, after ``lifecycle.start`` and ``settled``. ``inner`` are interceptors
    of the service itself, inside the one that converts errors to statuses.
    """
    limits = ChannelLimits(message_bytes=settings.message_bytes)
    credentials = server_credentials(settings.served_certificates())
    server = grpc.aio.server(
        interceptors=[CallInterceptor(), *inner], options=limits.server_options()
    )
    names = list(register(server))
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflected = (*names, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(reflected, server)
    for name in ("", *names):
        await checks.set(name, _NOT_SERVING)
    port = _listen(server, settings, credentials)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in stopping_signals():
        loop.add_signal_handler(number, stopping.set)
    metrics.TASKS.set_function(lambda: len(asyncio.all_tasks(loop)))
    page = _page(settings)
    await server.start()
    try:
        await lifecycle.start()
        settled()
        for name in ("", *names):
            await checks.set(name, _SERVING)
        if settings.port_file is not None:
            _say_ready(settings.port_file, port)
        _LOG.info("ready", extra={"address": f"{settings.host}:{port}"})
        await stopping.wait()
        _LOG.info("draining", extra={"grace_s": settings.drain_s})
        for name in ("", *names):
            await checks.set(name, _NOT_SERVING)
        until_s = time.monotonic() + settings.drain_s
        await lifecycle.drain(settings.drain_s)
        await server.stop(max(0.0, until_s - time.monotonic()))
    finally:
        for number in stopping_signals():
            loop.remove_signal_handler(number)
        await server.stop(0)
        await lifecycle.stop()
        page.close()
        _LOG.info("stopped")


def _listen(
    server: grpc.aio.Server, settings: ServiceSettings, credentials: grpc.ServerCredentials | None
) -> int:
    """Opens the port. Raises InputError if it is in use or the host is not a local address."""
    host = _bare(settings.host)
    place = f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"
    # gRPC reports only that it failed, and prints lines of its own; a socket gives the reason.
    with contextlib.closing(_socket(settings.host, settings.port, "port")):
        pass
    try:
        if credentials is None:
            return server.add_insecure_port(place)
        return server.add_secure_port(place, credentials)
    except RuntimeError:
        raise InputError("port", settings.port, f"cannot listen at {place}") from None


def _socket(host: str, port: int, field: str) -> socket.socket:
    try:
        found = socket.getaddrinfo(_bare(host), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # an unknown or an invalid host name
        reason = getattr(error, "strerror", None) or "not a host name"
        raise InputError("host", host, f"not an address of this machine: {reason}") from None
    family, kind, protocol, _, address = found[0]
    probe = socket.socket(family, kind, protocol)
    try:
        # A port with closing connections counts as free, as for gRPC.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)
    except OSError as error:
        probe.close()
        # An error of the host, not of the port.
        if error.errno == errno.EADDRNOTAVAIL:
            raise InputError("host", host, "not an address of this machine") from None
        raise InputError(field, port, f"cannot listen at {host}: {error.strerror}") from None
    return probe


def _bare(host: str) -> str:
    """Removes the brackets of [IPV6]; some functions accept them and some do not."""
    return host.strip("[]")


def _page(settings: ServiceSettings) -> metrics.MetricsPage:
    """Opens the metrics page. Raises InputError for a port in use."""
    try:
        return metrics.MetricsPage(settings.metrics_port, _bare(settings.host))
    except OSError as error:
        limit = f"cannot listen at {settings.host}: {error.strerror}"
        raise InputError("metrics_port", settings.metrics_port, limit) from None


def _say_ready(path: Path, port: int) -> None:
    try:
        write_port(path, port)
    except OSError as error:
        raise InputError("port_file", path, f"not writable: {error.strerror}") from None


def run(
    name: str, settings: ServiceSettings, make: Callable[[], App], young_objects: int | None = None
) -> int:
    """Runs a service from start to end.

    Args:
        name: name for logs and traces.
        settings: settings of the service.
        make: creates the service; its FlashTalkErrors count as invalid settings.
        young_objects: see ``settle_collector``.

    Returns:
        The exit code: 0 after a clean stop, 2 for invalid settings or weights, 1 after any other
        error.
    """
    prepare_streams()
    set_up_logs(name, settings.log_level)
    if not end_with_parent(settings.parent_pid):
        _LOG.info("parent process has ended")
        return 0
    try:
        set_up_tracing(name, settings.otlp_endpoint)
        app = make()
        settled = partial(settle_collector, young_objects)
        asyncio.run(serve(settings, app.register, app, app.interceptors, settled))
    except FlashTalkError as error:
        _LOG.error("cannot start", extra={"error": start_up_error(settings, error)})
        return EXIT_SETTINGS
    except Exception:
        _LOG.exception("unexpected error")
        return 1
    finally:
        end_tracing()
    return 0
