"""The gateway application: it owns the gateway's parts from start to stop."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Coroutine
from typing import Any

import grpc

from flashtalk.errors import InputError
from flashtalk.serving.logs import get_logger
from flashtalk.serving.settings import variable_of
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import session_service_pb2_grpc as pb_grpc
from flashtalk.wire.proxies import is_loopback
from services.gateway import metrics
from services.gateway.keys.door import Door, KeyInterceptor
from services.gateway.servicer import SessionServicer
from services.gateway.sessions.desk import SessionDesk
from services.gateway.settings import GatewaySettings
from services.gateway.store import open_store, shown_url
from services.gateway.store.session_store import SessionStore, StoreError
from services.gateway.stream.host import StreamHost
from services.gateway.workers.channels import WorkerChannels
from services.gateway.workers.making import ChunkMaker
from services.gateway.workers.pool import WorkerPool, WorkerTargets
from services.gateway.workers.worker import Connect

SERVICE = pb.DESCRIPTOR.services_by_name["SessionService"].full_name

_LOG = get_logger(__name__)
_COUNT_EVERY_S = 1.0
_LOOK_EVERY_S = 1.0


class GatewayApp:
    """Everything behind the gateway's port (a ``flashtalk.serving`` app).

    Args:
        settings: all settings.
        store: session store to use instead of the configured one; it is not closed here.
        connect: opens a channel to HOST:PORT, instead of one over the network.

    Attributes:
        host: serves the streams.
        pool: the workers.
        door: authenticates callers.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        store: SessionStore | None = None,
        connect: Connect | None = None,
    ) -> None:
        limits, self._settings = settings.limits(), settings
        owner = settings.owner or f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self.door = Door.of(settings.api_keys)
        self.interceptors = (KeyInterceptor(self.door),)
        self._resources = contextlib.AsyncExitStack()
        self._store = open_store(settings.store) if store is None else store
        if store is None:
            self._resources.push_async_callback(self._store.close)
        targets = WorkerTargets(
            settings.audio_encoders, settings.dit_workers, settings.vae_decoders
        )
        channels = WorkerChannels(settings.shown_certificates(), settings.workers_tls_name)
        self.pool = WorkerPool(
            targets, self._store, limits, connect or channels.open, channels.outdated
        )
        maker = ChunkMaker(self.pool, limits)
        desk = SessionDesk(self._store, self.pool, maker, limits)
        self.host = StreamHost(owner, self._store, self.pool, maker, limits, self.door)
        self._servicer = SessionServicer(desk, self.host, limits, self.door)

    def register(self, server: grpc.aio.Server) -> list[str]:
        """Adds the service to the server; returns its name for health and reflection."""
        pb_grpc.add_SessionServiceServicer_to_server(self._servicer, server)
        return [SERVICE]

    async def start(self) -> None:
        """Starts; the gateway is ready when its store answers, independent of the workers."""
        try:
            await self._store.check()
        except StoreError as error:
            raise InputError("store", shown_url(self._settings.store), str(error)) from error
        await self._resources.enter_async_context(self.pool)
        self._begin(self._count())
        if self.door.locked:
            self._begin(self._look_at_keys())
        self._warn()

    async def drain(self, grace_s: float) -> None:
        """Hands over every stream; waits up to ``grace_s`` for them to end."""
        with contextlib.suppress(TimeoutError):
            # The server's stop cancels the remaining streams; their sessions stay in the store.
            async with asyncio.timeout(grace_s):
                await self.host.drain()

    async def stop(self) -> None:
        """Closes everything that the app opened."""
        await self._resources.aclose()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Starts a task that is cancelled when the app stops."""
        self._resources.push_async_callback(_ended, asyncio.create_task(work))

    def _warn(self) -> None:
        """Logs a warning if the port is reachable from other machines without API keys."""
        settings = self._settings
        if is_loopback(settings.host):
            return
        if not self.door.locked:
            _LOG.warning(
                "no API keys: anyone who can connect to this port can create sessions and "
                "read all sessions",
                extra={"host": settings.host, "setting": variable_of(settings, "api_keys")},
            )
        elif settings.tls_cert is None:
            _LOG.warning(
                "API keys without TLS: keys are sent unencrypted unless a proxy adds TLS",
                extra={"host": settings.host, "setting": variable_of(settings, "tls_cert")},
            )

    async def _look_at_keys(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            # In a thread: a slow disk would block the event loop, which serves streams.
            await asyncio.to_thread(self.door.refresh)

    async def _count(self) -> None:
        while True:
            self.host.count_waiting()
            free, slots = await self.pool.free_slots()
            metrics.SLOTS.set(slots)
            metrics.CHUNK_VIDEO_SECONDS.set(self.pool.spec.new_s)
            metrics.FREE_SLOTS.set(free)
            for role, ready in self.pool.ready_counts().items():
                metrics.READY_WORKERS.labels(role.value).set(ready)
            await asyncio.sleep(_COUNT_EVERY_S)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
