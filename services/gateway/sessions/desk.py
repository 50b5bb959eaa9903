"""The life of sessions: made once, found, ended, interrupted from anywhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc

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
"""Longer than making a session takes; a gateway that dies meanwhile leaves its count so long."""


class SessionDesk:
    """Makes and ends sessions; keeps nothing but references to its parts."""

    def __init__(
        self,
        spec: StreamSpec,
        store: SessionStore,
        pool: WorkerPool,
        maker: ChunkMaker,
        limits: GatewayLimits,
    ) -> None:
        self.spec = spec
        self.store = store
        self.pool = pool
        self._limits = limits
        self._maker = maker

    async def create(self, creation: Creation, caller: ApiKey = ANYBODY) -> SessionRecord:
        """A session with a slot of its own; the one it made before, for a repeated request.

        Raises:
            InputError: the picture or its size.
            ServiceError: RESOURCE_EXHAUSTED with a delay: every slot is taken.
            RequestConflict: the request id belongs to another request.
            KeyFull: the caller has all that it may have.
        """
        known = await self.store.find_request(creation.request_id, creation.digest, caller.name)
        if known is not None:
            return known
        sizes = self.pool.sizes_hw()
        if not sizes:
            raise _no_slot("no worker is ready")
        name = new_session_id()
        # Before any work: being refused must cost the others nothing.
        async with self._counted(caller, name):
            return await self._made(creation, caller, name, sizes)

    @contextlib.asynccontextmanager
    async def _counted(self, caller: ApiKey, name: str) -> AsyncIterator[None]:
        """While a session is made it counts as one of its key's."""
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
            with contextlib.suppress(StoreError):  # what is not settled runs out by itself
                await self.store.settle(caller.name, name, begun=begun)

    async def _made(
        self, creation: Creation, caller: ApiKey, name: str, sizes: list[tuple[int, int]]
    ) -> SessionRecord:
        if await self.pool.reserve(name, lease_s=creation.ttl_s) is None:
            raise _no_slot("every session slot is taken")
        try:
            portrait_HWC = await asyncio.to_thread(creation.picture, sizes, self._limits)
            prompt = creation.prompt or self.pool.default_prompt
            asset = await self._maker.condition(portrait_HWC, prompt, name)
            size_hw = (portrait_HWC.shape[0], portrait_HWC.shape[1])
            setting = creation.setting(name, size_hw, asset.digest, self._limits, caller)
            record, made = await self.store.create(setting, self._fresh(asset), asset)
        except BaseException:
            await self.pool.give_back(name)
            raise
        if not made:
            # The same request came twice at once: the other one won.
            await self.pool.give_back(name)
        return record

    async def get(self, session_id: str, caller: ApiKey = ANYBODY) -> SessionRecord:
        """A session of the caller. Raises SessionGone, for another's too."""
        record = await self.store.load(session_id)
        if record.setting.key_name != caller.name:
            raise session_gone(session_id)
        return record

    async def delete(self, session_id: str, caller: ApiKey = ANYBODY) -> None:
        """Ends a session; one that is gone is no error, and another's stays as it is."""
        try:
            record = await self.store.load(session_id, light=True)
        except SessionGone:
            pass  # what is left of it
        else:
            if record.setting.key_name != caller.name:
                return
        await self.store.delete(session_id)
        await self.pool.give_back(session_id)

    async def interrupt(
        self, session_id: str, request: InterruptRequest, caller: ApiKey = ANYBODY
    ) -> InterruptOutcome:
        """Leaves an interruption for whoever runs the session and waits until it is carried out.

        One that was carried out before is answered as before, also when its stream has ended since:
        whoever lost the answer asks again.

        Raises:
            SessionGone: no such session, or another's.
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
                f"session {session_id} has no open stream: nothing is being said",
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
                f"the stream did not answer within {self._limits.interrupt_timeout_s:g} s",
                retry_after_s=_RETRY_AFTER_S,
            ) from None

    async def _outcome(
        self, session_id: str, request: InterruptRequest, caller: ApiKey
    ) -> InterruptOutcome | None:
        """What became of it; nothing where that is another's business."""
        return await self.store.interrupt_outcome(session_id, request.interrupt_id, caller.name)

    def _fresh(self, asset: SessionAsset) -> SessionState:
        return SessionState(
            epoch=0,
            position=Position.start(self.spec, tail_samples(self.spec)),
            input_samples=0,
            utterances=0,
            motion_z=asset.portrait_z,
        )


def _no_slot(why: str) -> ServiceError:
    return ServiceError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.NO_SLOT,
        f"{why}; try again in {_RETRY_AFTER_S:g} s",
        retry_after_s=_RETRY_AFTER_S,
    )
