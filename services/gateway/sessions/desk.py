"""The life of sessions: idempotent creation, lookup, deletion, interruption from any gateway."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc

from flashtalk.errors import InputError
from flashtalk.serving.errors import Reason, ServiceError
from flashtalk.streaming import Position, StreamSpec
from services.gateway.keys.entries import ANYBODY, ApiKey
from services.gateway.limits import GatewayLimits
from services.gateway.sessions.creation import Creation, new_session_id
from services.gateway.sessions.rewind import tail_samples
from services.gateway.store.records import (
    InterruptOutcome,
    InterruptRequest,
    SessionAsset,
    SessionRecord,
    SessionState,
)
from services.gateway.store.session_store import (
    KeyLimits,
    SessionGone,
    SessionStore,
    StoreError,
    session_gone,
)
from services.gateway.workers.making import ChunkMaker
from services.gateway.workers.pool import WorkerPool

_RETRY_AFTER_S = 2.0
_POLL_S = 0.05
_MAKING_S = 120.0
"""Longer than a creation takes; after a crash of the gateway the count lasts this long."""


class SessionDesk:
    """Creates and ends sessions; has no state of its own."""

    def __init__(
        self,
        store: SessionStore,
        pool: WorkerPool,
        maker: ChunkMaker,
        limits: GatewayLimits,
    ) -> None:
        self.store = store
        self.pool = pool
        self._limits = limits
        self._maker = maker

    async def create(self, creation: Creation, caller: ApiKey = ANYBODY) -> SessionRecord:
        """Creates a session with its slot; returns the earlier session for a repeated request.

        Raises:
            InputError: an invalid picture or size.
            ServiceError: RESOURCE_EXHAUSTED with a delay: all slots are taken.
            RequestConflict: the request id was used for another request.
            KeyFull: the caller's limit is reached.
        """
        known = await self.store.find_request(creation.request_id, creation.digest, caller.name)
        if known is not None:
            return known
        sizes = self.pool.sizes_hw()
        if not sizes:
            raise _no_slot("no worker is ready")
        if creation.prompt and not self.pool.accepts_prompt:
            raise InputError(
                "prompt", creation.prompt[:80], "must be empty: these weights use no prompt"
            )
        name = new_session_id()
        # Before any work: a rejected call must not slow down others.
        async with self._counted(caller, name):
            return await self._made(creation, caller, name, sizes)

    @contextlib.asynccontextmanager
    async def _counted(self, caller: ApiKey, name: str) -> AsyncIterator[None]:
        """Counts a session for its key while it is created."""
        limits = KeyLimits(caller.max_sessions, caller.sessions_per_minute)
        if limits == KeyLimits():
            yield
            return
        await self.store.admit(caller.name, name, limits, _MAKING_S)
        begun = True
        try:
            yield
        except ServiceError as error:
            begun = error.reason is not Reason.NO_SLOT
            raise
        finally:
            with contextlib.suppress(StoreError):  # an unsettled count expires
                await self.store.settle(caller.name, name, begun=begun)

    async def _made(
        self, creation: Creation, caller: ApiKey, name: str, sizes: list[tuple[int, int]]
    ) -> SessionRecord:
        spec, maker = self.pool.spec, self._maker.with_weights(self.pool.weights_digest)
        lease_s, weights = creation.ttl_s, maker.weights
        if await self.pool.reserve(name, lease_s=lease_s, weights=weights) is None:
            raise _no_slot("all session slots are in use")
        try:
            portrait_HWC = await asyncio.to_thread(creation.picture, sizes, self._limits)
            prompt = creation.prompt or self.pool.default_prompt
            asset = await maker.condition(portrait_HWC, prompt, name)
            size_hw = (portrait_HWC.shape[0], portrait_HWC.shape[1])
            setting = creation.setting(name, size_hw, asset.digest, self._limits, caller, spec)
            record, made = await self.store.create(setting, _fresh(asset, spec), asset)
        except BaseException:
            await self.pool.give_back(name)
            raise
        if not made:
            # Two equal requests ran at the same time: the other one created the session.
            await self.pool.give_back(name)
        return record

    async def get(self, session_id: str, caller: ApiKey = ANYBODY) -> SessionRecord:
        """Returns a session of the caller. Raises SessionGone, also for one of another key."""
        record = await self.store.load(session_id)
        if record.setting.key_name != caller.name:
            raise session_gone(session_id)
        return record

    async def delete(self, session_id: str, caller: ApiKey = ANYBODY) -> None:
        """Ends a session; idempotent. A session of another key is not changed."""
        try:
            record = await self.store.load(session_id, light=True)
        except SessionGone:
            pass  # already gone
        else:
            if record.setting.key_name != caller.name:
                return
        await self.store.delete(session_id)
        await self.pool.give_back(session_id)

    async def interrupt(
        self, session_id: str, request: InterruptRequest, caller: ApiKey = ANYBODY
    ) -> InterruptOutcome:
        """Queues an interruption for the owner of the session and waits until it is carried out.

        A repeated interruption gets the same answer, also when its stream has ended since: a caller
        that lost the answer can retry.

        Raises:
            SessionGone: no such session, or one of another key.
            ServiceError: FAILED_PRECONDITION without a stream, DEADLINE_EXCEEDED without an answer.
        """
        if request.interrupt_id:
            outcome = await self._outcome(session_id, request, caller)
            if outcome is not None:
                return outcome
        record = await self.get(session_id, caller)
        if not record.owner:
            raise ServiceError(
                grpc.StatusCode.FAILED_PRECONDITION,
                Reason.NO_STREAM,
                f"session {session_id} has no open stream to interrupt",
                field="session_id",
            )
        await self.store.ask_interrupt(session_id, request, caller.name)
        try:
            async with asyncio.timeout(self._limits.interrupt_timeout_s):
                while True:
                    outcome = await self._outcome(session_id, request, caller)
                    if outcome is not None:
                        return outcome
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise ServiceError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                Reason.NO_ANSWER,
                f"timeout: the stream did not answer within {self._limits.interrupt_timeout_s:g} s",
                retry_after_s=_RETRY_AFTER_S,
            ) from None

    async def _outcome(
        self, session_id: str, request: InterruptRequest, caller: ApiKey
    ) -> InterruptOutcome | None:
        """Returns the outcome of an interruption, or None, also for a session of another key."""
        return await self.store.interrupt_outcome(session_id, request.interrupt_id, caller.name)


def _fresh(asset: SessionAsset, spec: StreamSpec) -> SessionState:
    return SessionState(
        epoch=0,
        position=Position.start(spec, tail_samples(spec)),
        input_samples=0,
        utterances=0,
        motion_z=asset.portrait_z,
    )


def _no_slot(why: str) -> ServiceError:
    return ServiceError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.NO_SLOT,
        f"{why}; retry in {_RETRY_AFTER_S:g} s",
        retry_after_s=_RETRY_AFTER_S,
    )
