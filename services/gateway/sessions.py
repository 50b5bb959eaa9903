"""The life of sessions: made once, found, ended, interrupted from anywhere."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import grpc
import numpy as np

from flashtalk.serving.errors import Reason, ServiceError
from flashtalk.streaming import StreamSpec
from services.gateway.creation import Creation, CreationLimits, new_session_id
from services.gateway.making import ChunkMaker
from services.gateway.records import (
    InterruptOutcome,
    InterruptRequest,
    SessionAsset,
    SessionRecord,
    SessionState,
)
from services.gateway.rewind import tail_samples
from services.gateway.store.session_store import SessionStore
from services.gateway.workers import WorkerPool

_RETRY_AFTER_S = 2.0
_POLL_S = 0.05


@dataclass(frozen=True)
class ControlWaits:
    """Waits of the control plane.

    Args:
        interrupt_s: for an interruption that another gateway carries out.
    """

    interrupt_s: float = 5.0


class SessionDesk:
    """Makes and ends sessions; keeps nothing but references to its parts."""

    def __init__(
        self,
        spec: StreamSpec,
        store: SessionStore,
        pool: WorkerPool,
        maker: ChunkMaker,
        limits: CreationLimits,
        waits: ControlWaits,
    ) -> None:
        self.spec = spec
        self.store = store
        self.pool = pool
        self.limits = limits
        self._maker = maker
        self._waits = waits

    async def create(self, creation: Creation) -> SessionRecord:
        """A session with a slot of its own; the one it made before, for a repeated request.

        Raises:
            InputError: the picture or its size.
            ServiceError: RESOURCE_EXHAUSTED with a delay: every slot is taken.
            RequestConflict: the request id belongs to another request.
        """
        known = await self.store.find_request(creation.request_id, creation.digest)
        if known is not None:
            return known
        sizes = self.pool.sizes_hw()
        if not sizes:
            raise _no_slot("no worker is ready")
        name = new_session_id()
        # Before any work: being refused must cost the others nothing.
        if await self.pool.reserve(name, lease_s=creation.ttl_s) is None:
            raise _no_slot("every session slot is taken")
        try:
            portrait_HWC = await asyncio.to_thread(creation.picture, sizes, self.limits)
            prompt = creation.prompt or self.pool.default_prompt
            asset = await self._maker.condition(portrait_HWC, prompt, name)
            size_hw = (portrait_HWC.shape[0], portrait_HWC.shape[1])
            setting = creation.setting(name, size_hw, asset.digest, self.limits)
            record, made = await self.store.create(setting, self._fresh(asset), asset)
        except BaseException:
            await self.pool.give_back(name)
            raise
        if not made:
            # The same request came twice at once: the other one won.
            await self.pool.give_back(name)
        return record

    async def delete(self, session_id: str) -> None:
        """Ends a session; one that is gone is no error."""
        await self.store.delete(session_id)
        await self.pool.give_back(session_id)

    async def interrupt(self, session_id: str, request: InterruptRequest) -> InterruptOutcome:
        """Leaves an interruption for whoever runs the session and waits until it is carried out.

        One that was carried out before is answered as before, also when its stream has ended since:
        whoever lost the answer asks again.

        Raises:
            SessionGone: no such session.
            ServiceError: FAILED_PRECONDITION without a stream, DEADLINE_EXCEEDED without an answer.
        """
        if request.interrupt_id:
            outcome = await self.store.interrupt_outcome(session_id, request.interrupt_id)
            if outcome is not None:
                return outcome
        record = await self.store.load(session_id)
        if not record.owner:
            raise ServiceError(
                grpc.StatusCode.FAILED_PRECONDITION,
                Reason.NO_STREAM,
                f"session {session_id} has no open stream: nothing is being said",
                field="session_id",
            )
        await self.store.ask_interrupt(session_id, request)
        try:
            async with asyncio.timeout(self._waits.interrupt_s):
                while True:
                    outcome = await self.store.interrupt_outcome(session_id, request.interrupt_id)
                    if outcome is not None:
                        return outcome
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise ServiceError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                Reason.NO_ANSWER,
                f"the stream did not answer within {self._waits.interrupt_s:g} s",
                retry_after_s=_RETRY_AFTER_S,
            ) from None

    def _fresh(self, asset: SessionAsset) -> SessionState:
        return SessionState(
            epoch=0,
            chunk_index=0,
            next_frame=0,
            input_samples=0,
            utterances=0,
            motion_z=asset.portrait_z,
            tail_S=np.zeros(tail_samples(self.spec), np.float32),
        )


def _no_slot(why: str) -> ServiceError:
    return ServiceError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.NO_SLOT,
        f"{why}; try again in {_RETRY_AFTER_S:g} s",
        retry_after_s=_RETRY_AFTER_S,
    )
