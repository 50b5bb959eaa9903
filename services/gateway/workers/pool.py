"""The worker pool of a gateway: known workers, their readiness, and the slots of sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

import grpc

from flashtalk.serving.channel import open_channel
from flashtalk.serving.errors import Reason, ServiceError
from flashtalk.serving.logs import get_logger
from flashtalk.streaming import StreamSpec
from flashtalk.v1 import worker_pb2
from flashtalk.wire.stream_spec import spec_from_proto
from services.gateway import metrics
from services.gateway.limits import GatewayLimits
from services.gateway.loop_clock import now_s
from services.gateway.store.session_store import SessionStore, StoreError
from services.gateway.workers.discovery import Targets
from services.gateway.workers.worker import Connect, Role, Worker

_LOG = get_logger(__name__)


@dataclass(frozen=True)
class WorkerTargets:
    """Targets of workers: comma-separated HOST:PORT, or ``dns:///NAME:PORT``."""

    audio_encoders: str
    dit_workers: str
    vae_decoders: str


@dataclass
class _Slot:
    worker: Worker
    worker_id: str
    until_s: float


@dataclass
class _Retired:
    worker: Worker
    until_s: float


@dataclass
class _Table:
    targets: Targets
    connect: Connect
    workers: dict[str, Worker] = field(default_factory=dict)
    retired: dict[str, _Retired] = field(default_factory=dict)

    def follow(self, role: Role, found: frozenset[str], linger_s: float) -> list[Worker]:
        """Adds new workers and retires those that are gone.

        Retired workers get no new calls; their running calls may finish.

        Returns:
            Workers that can be closed now.
        """
        now = now_s()
        for target in found - self.workers.keys():
            known = self.retired.pop(target, None)
            self.workers[target] = (
                known.worker if known is not None else Worker(role, target, self.connect(target))
            )
        for target in self.workers.keys() - found:
            worker = self.workers.pop(target)
            worker.ready = False
            self.retired[target] = _Retired(worker, now + linger_s)
        over = [target for target, kept in self.retired.items() if kept.until_s <= now]
        return [self.retired.pop(target).worker for target in over]

    def reconnect(self) -> list[grpc.aio.Channel]:
        """Opens new channels to all workers; returns the old ones, which may still have calls."""
        return [worker.connect(self.connect(worker.target)) for worker in self.everybody()]

    def everybody(self) -> list[Worker]:
        """Returns all workers, including retired ones."""
        return [*self.workers.values(), *(kept.worker for kept in self.retired.values())]


class WorkerPool:
    """All workers of one gateway, probed in the background while the pool is open.

    Args:
        targets: addresses.
        store: keeps the slots of DiT workers, which all gateways share.
        limits: probe interval and timeouts.
        connect: opens a channel to HOST:PORT.
        outdated: whether channels must be reopened, since the certificates have changed.

    Raises:
        InputError: an invalid target.
    """

    def __init__(
        self,
        targets: WorkerTargets,
        store: SessionStore,
        limits: GatewayLimits,
        connect: Connect = open_channel,
        outdated: Callable[[], bool] = lambda: False,
    ) -> None:
        self._limits = limits
        self._store = store
        self._outdated = outdated
        self._old_channels: list[tuple[grpc.aio.Channel, float]] = []
        where = {
            Role.AUDIO_ENCODER: Targets.parse("audio_encoders", targets.audio_encoders),
            Role.DIT_WORKER: Targets.parse("dit_workers", targets.dit_workers),
            Role.VAE_DECODER: Targets.parse("vae_decoders", targets.vae_decoders),
        }
        self._tables = {role: _Table(found, connect) for role, found in where.items()}
        for role in Role:
            metrics.CALL_FAILURES.labels(role.value)  # a rate needs a zero before the first
        self._slots: dict[str, _Slot] = {}
        self._changed = asyncio.Condition()
        self._look = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None
        self._turn = 0

    async def __aenter__(self) -> WorkerPool:
        await self._probe_all()
        self._poller = asyncio.create_task(self._poll())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.wait({self._poller})
        for table in self._tables.values():
            for worker in table.everybody():
                await worker.channel.close()
        for channel, _ in self._old_channels:
            await channel.close()

    @property
    def weights_digest(self) -> str:
        """Returns the weights digest of the ready DiT workers; empty without one."""
        return next((w.info.weights_digest for w in self._ready(Role.DIT_WORKER) if w.info), "")

    @property
    def default_prompt(self) -> str:
        """Returns the default prompt."""
        return next((w.info.default_prompt for w in self._ready(Role.DIT_WORKER) if w.info), "")

    @property
    def accepts_prompt(self) -> bool:
        """Returns whether prompts have an effect on the weights of the ready DiT workers."""
        ready = (w.info for w in self._ready(Role.DIT_WORKER) if w.info)
        return all(info.accepts_prompt or not info.HasField("accepts_prompt") for info in ready)

    @property
    def spec(self) -> StreamSpec:
        """Returns the stream spec of the weights of the ready DiT workers.

        Raises:
            InputError: a worker reports numbers that do not fit each other.
        """
        ready = (w.info for w in self._ready(Role.DIT_WORKER) if w.info)
        return spec_from_proto(next(ready, worker_pb2.GetWorkerResponse()).geometry)

    @property
    def chunk_s(self) -> float:
        """Returns the estimated time of a chunk, from the slowest workers' measurements."""
        return sum(
            max((w.info.chunk_s for w in self._ready(role) if w.info), default=0.0)
            for role in self._tables
        )

    def sizes_hw(self) -> list[tuple[int, int]]:
        """Returns sizes (height, width) that ready DiT workers serve, the first worker's first."""
        sizes = [
            (size.height_px, size.width_px)
            for worker in self._ready(Role.DIT_WORKER)
            if worker.info
            for size in worker.info.sizes
        ]
        return list(dict.fromkeys(sizes))

    async def choose(self, role: Role, *, timeout_s: float, weights: str = "") -> Worker:
        """Returns a ready worker, round robin; waits for one.

        Args:
            role: its role.
            timeout_s: longest wait.
            weights: digest of its weights; empty: any.

        Raises:
            ServiceError: UNAVAILABLE: none was ready before the timeout.
        """
        ready = self._ready(role, weights)
        if not ready:
            async with self._changed:
                try:
                    async with asyncio.timeout(timeout_s):
                        await self._changed.wait_for(lambda: bool(self._ready(role, weights)))
                except TimeoutError:
                    raise _nobody(role, timeout_s) from None
                ready = self._ready(role, weights)
        self._turn += 1
        return ready[self._turn % len(ready)]

    def suspect(self, worker: Worker) -> None:
        """Marks a worker after a failed call: it gets no calls until a probe succeeds."""
        worker.ready = False
        worker.failures += 1
        metrics.CALL_FAILURES.labels(worker.role.value).inc()
        self._look.set()

    async def reserve(self, session_id: str, *, lease_s: float, weights: str = "") -> Worker | None:
        """Takes a free slot for the session and returns its DiT worker; None if all are taken.

        ``weights``: digest of the worker's weights; empty: any.
        """
        for worker in self._ready(Role.DIT_WORKER, weights):
            assert worker.info is not None
            slots = worker.info.session_slots
            if await self._store.take_slot(worker.worker_id, slots, session_id, lease_s):
                until_s = now_s() + lease_s
                self._slots[session_id] = _Slot(worker, worker.worker_id, until_s)
                return worker
        return None

    async def holder(self, session_id: str, *, timeout_s: float, weights: str = "") -> Worker:
        """Returns the DiT worker of a session's slot; another one if it is not ready."""
        slot = self._slots.get(session_id)
        if slot is not None and slot.worker.ready and slot.worker.worker_id == slot.worker_id:
            return slot.worker
        return await self.move(session_id, timeout_s=timeout_s, weights=weights)

    async def move(self, session_id: str, *, timeout_s: float, weights: str = "") -> Worker:
        """Moves the slot to a ready worker and frees the old one; waits for a slot.

        Raises:
            ServiceError: UNAVAILABLE: no slot was free before the timeout.
        """
        until_s = now_s() + timeout_s
        while True:
            before = self._slots.get(session_id)
            lease_s = self._limits.slot_lease_s
            worker = await self.reserve(session_id, lease_s=lease_s, weights=weights)
            if worker is not None:
                if before is not None and before.worker_id != worker.worker_id:
                    await self._store.give_slot(before.worker_id, session_id)
                return worker
            left_s = until_s - now_s()
            if left_s <= 0:
                raise _nobody(Role.DIT_WORKER, timeout_s)
            await self._wait_for_change(min(left_s, self._limits.worker_poll_s))

    async def renew(self, session_id: str, *, lease_s: float) -> None:
        """Renews the lease of a session's slot."""
        slot = self._slots.get(session_id)
        if slot is not None and slot.worker.info is not None:
            slots = slot.worker.info.session_slots
            if not await self._store.take_slot(slot.worker_id, slots, session_id, lease_s):
                return
            held = self._slots.get(session_id)
            if held is not None and held.worker_id == slot.worker_id:
                held.until_s = now_s() + lease_s
            else:
                # It was freed or moved at the same time.
                await self._store.give_slot(slot.worker_id, session_id)

    async def give_back(self, session_id: str) -> None:
        """Frees a session's slot; idempotent."""
        slot = self._slots.pop(session_id, None)
        if slot is not None:
            await self._store.give_slot(slot.worker_id, session_id)

    async def free_slots(self) -> tuple[int, int]:
        """Returns the free slots and all slots of ready DiT workers."""
        workers = [w for w in self._ready(Role.DIT_WORKER) if w.info is not None]
        slots = sum(w.info.session_slots for w in workers if w.info is not None)
        try:
            taken = await self._store.taken_slots([w.worker_id for w in workers])
        except StoreError:
            return 0, slots
        return max(0, slots - sum(taken.values())), slots

    def ready_counts(self) -> dict[Role, int]:
        """Returns the number of ready workers of each role."""
        return {role: len(self._ready(role)) for role in Role}

    def _ready(self, role: Role, weights: str = "") -> list[Worker]:
        """Returns the ready workers in a stable order, only those with these weights if given."""
        workers = self._tables[role].workers
        ready = [workers[t] for t in sorted(workers) if workers[t].ready]
        return [w for w in ready if w.info and weights in ("", w.info.weights_digest)]

    async def _wait_for_change(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait()
        except TimeoutError:
            return

    async def _poll(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._limits.worker_poll_s):
                    await self._look.wait()
            except TimeoutError:
                pass
            else:
                # A worker that has just failed gets a short delay before the next probe.
                await asyncio.sleep(self._limits.worker_poll_s / 10)
            self._look.clear()
            try:
                await self._probe_all()
            except Exception:
                # Catches every error: without this task no worker would be found again.
                _LOG.exception("worker probe failed")

    async def _probe_all(self) -> None:
        for role, table in self._tables.items():
            found = await table.targets.resolve()
            for worker in table.follow(role, found, self._limits.worker_linger_s):
                await worker.channel.close()
        await self._renew_channels()
        workers = [w for table in self._tables.values() for w in table.workers.values()]
        timeout_s = self._limits.worker_probe_timeout_s
        await asyncio.gather(*(worker.probe(timeout_s) for worker in workers))
        # Slots of sessions that expired, or that continued at another gateway.
        now = now_s()
        self._slots = {name: slot for name, slot in self._slots.items() if slot.until_s > now}
        async with self._changed:
            self._changed.notify_all()

    async def _renew_channels(self) -> None:
        """Reopens channels if certificates have changed; old ones stay until their calls end."""
        now = now_s()
        if self._outdated():
            until_s = now + self._limits.worker_linger_s
            for table in self._tables.values():
                self._old_channels += [(channel, until_s) for channel in table.reconnect()]
        for channel, _ in [old for old in self._old_channels if old[1] <= now]:
            await channel.close()
        self._old_channels = [old for old in self._old_channels if old[1] > now]


def _nobody(role: Role, timeout_s: float) -> ServiceError:
    return ServiceError(
        grpc.StatusCode.UNAVAILABLE,
        Reason.NO_WORKER,
        f"timeout: no {role.value} was ready within {timeout_s:g} s",
        retry_after_s=1.0,
    )
