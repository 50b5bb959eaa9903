"""The gateway put together: what it owns, from its first breath to its last."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket

import grpc

from flashtalk.errors import InputError
from flashtalk.serving.logs import get_logger
from flashtalk.serving.settings import variable_of
from flashtalk.streaming import StreamSpec
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import session_service_pb2_grpc as pb_grpc
from flashtalk.wire.proxies import is_loopback
from services.gateway import metrics
from services.gateway.keys.door import Door, KeyInterceptor
from services.gateway.servicer import SessionServicer
from services.gateway.sessions.creation import CreationLimits
from services.gateway.sessions.desk import ControlWaits, SessionDesk
from services.gateway.sessions.views import StreamLimits
from services.gateway.settings import GatewaySettings
from services.gateway.store import open_store, shown_url
from services.gateway.store.session_store import StoreError
from services.gateway.stream.host import StreamHost, StreamWaits
from services.gateway.workers.channels import WorkerChannels
from services.gateway.workers.making import ChunkMaker, MakingLimits
from services.gateway.workers.pool import WorkerPool, WorkerTargets

SERVICE = pb.DESCRIPTOR.services_by_name["SessionService"].full_name

_LOG = get_logger(__name__)
_COUNT_EVERY_S = 1.0
_LOOK_EVERY_S = 1.0


class GatewayApp:
    """Everything behind the gateway's port (a ``flashtalk.serving`` app)."""

    def __init__(self, settings: GatewaySettings) -> None:
        spec, self._settings = StreamSpec(), settings
        owner = settings.owner or f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._door = Door.of(settings.api_keys)
        self.interceptors = (KeyInterceptor(self._door),)
        self._store = open_store(settings.store)
        targets = WorkerTargets(
            settings.audio_encoders, settings.dit_workers, settings.vae_decoders
        )
        channels = WorkerChannels(settings.shown_certificates(), settings.workers_tls_name)
        self._pool = WorkerPool(
            targets, self._store, connect=channels.open, outdated=channels.outdated
        )
        limits = StreamLimits(
            settings.max_packet_bytes, settings.max_buffered_s, settings.send_ahead_s
        )
        maker = ChunkMaker(
            self._pool, MakingLimits(settings.call_timeout_s, settings.chunk_timeout_s)
        )
        creation = CreationLimits(max_lifetime_s=settings.max_lifetime_s)
        desk = SessionDesk(spec, self._store, self._pool, maker, creation, ControlWaits())
        waits = StreamWaits(heartbeat_s=settings.heartbeat_s, grace_s=settings.drain_s)
        self._host = StreamHost(
            owner, spec, self._store, self._pool, maker, limits, waits, self._door
        )
        self._servicer = SessionServicer(desk, self._host, limits, self._door)
        self._resources = contextlib.AsyncExitStack()

    def register(self, server: grpc.aio.Server) -> list[str]:
        """Adds the service; gives its name for health and reflection."""
        pb_grpc.add_SessionServiceServicer_to_server(self._servicer, server)
        return [SERVICE]

    async def start(self) -> None:
        """Connects; the gateway is ready once its store answers, whatever workers do."""
        self._resources.push_async_callback(self._store.close)
        try:
            await self._store.check()
        except StoreError as error:
            raise InputError("store", shown_url(self._settings.store), str(error)) from error
        await self._resources.enter_async_context(self._pool)
        for work in (self._count(), self._look_at_keys()):
            self._resources.push_async_callback(_ended, asyncio.create_task(work))
        self._warn()

    async def drain(self, grace_s: float) -> None:
        """Hands every stream over, or waits ``grace_s`` for it to end."""
        with contextlib.suppress(TimeoutError):
            # What is left then, the server's stop cuts; sessions live on in the store.
            async with asyncio.timeout(grace_s):
                await self._host.drain()

    async def stop(self) -> None:
        """Gives everything back."""
        await self._resources.aclose()

    def _warn(self) -> None:
        """Of a port that more than this machine can reach, and that is open to everybody."""
        settings = self._settings
        if is_loopback(settings.host):
            return
        if not self._door.locked:
            _LOG.warning(
                "NO API KEYS: everybody who reaches this port can make sessions and see all others",
                extra={"host": settings.host, "setting": variable_of(settings, "api_keys")},
            )
        elif settings.tls_cert is None:
            _LOG.warning(
                "API keys without TLS: something before this port has to encrypt them",
                extra={"host": settings.host, "setting": variable_of(settings, "tls_cert")},
            )

    async def _look_at_keys(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            # A file may lie on a slow disk, and the loop has streams to serve.
            await asyncio.to_thread(self._door.refresh)

    async def _count(self) -> None:
        while True:
            self._host.count_waiting()
            free, slots = await self._pool.free_slots()
            metrics.SLOTS.set(slots)
            metrics.FREE_SLOTS.set(free)
            for role, ready in self._pool.ready_counts().items():
                metrics.READY_WORKERS.labels(role.value).set(ready)
            await asyncio.sleep(_COUNT_EVERY_S)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
