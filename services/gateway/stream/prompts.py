"""Prompt updates of one stream: the newest is encoded while chunks go on, then taken at a border.

At most one conditioning runs at a time. An update that arrives meanwhile replaces the waiting one;
a result that was replaced is dropped, so that a client cannot queue work on the workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import grpc

from flashtalk.errors import FlashTalkError, InputError
from flashtalk.serving.errors import Reason, ServiceError
from flashtalk.serving.logs import get_logger
from flashtalk.serving.tracing import own_trace
from flashtalk.v1 import stream_pb2
from services.gateway import metrics
from services.gateway.loop_clock import now_s
from services.gateway.sessions.creation import check_prompt
from services.gateway.store.records import PromptOutcome, SessionAsset, SessionSetting
from services.gateway.store.session_store import StoreError
from services.gateway.stream.playout import Outbox
from services.gateway.stream.signals import StreamSignals
from services.gateway.workers.making import ChunkMaker

KEPT_OUTCOMES = 32
"""Number of updates whose outcome a session remembers, so that they are not carried out again."""

Updated = stream_pb2.PromptUpdated

_LOG = get_logger(__name__)


@dataclass(frozen=True, eq=False)
class _Asked:
    update_id: str
    prompt: str
    asked_s: float


@dataclass(frozen=True, eq=False)
class NextScene:
    """A prompt that is ready for the next chunk.

    Args:
        asset: the portrait with it.
        update_id: of the update; asked_s: its arrival, on the loop's clock.
        superseded: updates that it replaced and that the session does not remember yet.
    """

    asset: SessionAsset
    update_id: str
    asked_s: float
    superseded: tuple[PromptOutcome, ...]


class PromptUpdates:
    """The updates of one stream; ``run`` must run while the stream is open.

    Args:
        setting: of the session.
        asset: its portrait.
        known: outcomes of earlier updates, which are answered again.
        maker: encodes prompts.
        outbox: receives the answers.
        signals: wakes the conductor when a prompt is ready.
        timeout_s: of one conditioning, retries included.
    """

    def __init__(
        self,
        setting: SessionSetting,
        asset: SessionAsset,
        known: Iterable[PromptOutcome],
        maker: ChunkMaker,
        outbox: Outbox,
        signals: StreamSignals,
        timeout_s: float,
    ) -> None:
        self._setting, self._asset, self._maker = setting, asset, maker
        self._outbox, self._signals, self._timeout_s = outbox, signals, timeout_s
        self._known = {outcome.update_id: outcome for outcome in known}
        self._superseded: tuple[PromptOutcome, ...] = ()
        self._waiting: _Asked | None = None
        self._encoded: SessionAsset | None = None
        self._work = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether a prompt waits for the next chunk border."""
        return self._encoded is not None

    async def ask(self, update_id: str, prompt: str) -> None:
        """Takes an update of the client, or answers one that is known again."""
        known = self._known.get(update_id)
        if known is not None:
            await self._say(known.outcome, update_id, known.first_frame)
            return
        if self._waiting is not None and self._waiting.update_id == update_id:
            return
        try:
            check_prompt(prompt)
        except InputError as error:
            await self._refuse(update_id, Reason.INVALID_FIELD, str(error))
            return
        if not self._maker.accepts_prompt:
            await self._refuse(update_id, Reason.NO_PROMPT, "these weights use no prompt")
            return
        if not self._asset.portrait_rgb:
            why = "this session was created by a gateway that did not keep its portrait"
            await self._refuse(update_id, Reason.NO_PROMPT, why)
            return
        before, self._waiting = self._waiting, _Asked(update_id, prompt, now_s())
        self._encoded = None
        self._work.set()
        if before is not None:
            outcome = PromptOutcome(before.update_id, Updated.OUTCOME_SUPERSEDED)
            self._superseded = (*self._superseded, outcome)[-KEPT_OUTCOMES:]
            self._remember(outcome)
            await self._answer(outcome)

    async def run(self) -> None:
        """Encodes one prompt after the other, always the newest."""
        while True:
            await self._work.wait()
            self._work.clear()
            asked = self._waiting
            if asked is None:
                continue
            try:
                asset = await self._encode(asked)
            except (TimeoutError, FlashTalkError, grpc.aio.AioRpcError) as error:
                _LOG.warning("a new prompt was not encoded", extra={"error": repr(error)})
                if asked is self._waiting:
                    self._waiting = None
                    await self._fail(asked.update_id, *_public(error, self._timeout_s))
                continue
            if asked is self._waiting:
                self._encoded = asset
                self._signals.wake()

    def take(self, first_frame: int) -> tuple[NextScene, PromptOutcome]:
        """Takes the prompt that is ready, for chunks from ``first_frame`` on; there must be one."""
        asked, asset, superseded = self._waiting, self._encoded, self._superseded
        assert asked is not None
        assert asset is not None
        self._waiting, self._encoded, self._superseded = None, None, ()
        outcome = PromptOutcome(asked.update_id, Updated.OUTCOME_APPLIED, first_frame)
        self._remember(outcome)
        return NextScene(asset, asked.update_id, asked.asked_s, superseded), outcome

    async def applied(self, scene: NextScene, outcome: PromptOutcome) -> None:
        """Answers the update that was taken, once the session is stored with it."""
        metrics.PROMPT_SECONDS.observe(now_s() - scene.asked_s)
        await self._answer(outcome)

    async def end(self) -> None:
        """Answers a waiting update: the session ends before a chunk begins with it."""
        asked, self._waiting, self._encoded = self._waiting, None, None
        if asked is not None:
            why = "the session ended before a chunk began with this prompt"
            await self._fail(asked.update_id, Reason.SESSION_GONE, why)

    async def _encode(self, asked: _Asked) -> SessionAsset:
        setting = self._setting
        size_hw = (setting.height_px, setting.width_px)
        with own_trace("prompt", {"session_id": setting.session_id}):
            async with asyncio.timeout(self._timeout_s):
                return await self._maker.with_prompt(
                    self._asset,
                    size_hw,
                    asked.prompt or self._maker.default_prompt,
                    setting.session_id,
                )

    def _remember(self, outcome: PromptOutcome) -> None:
        self._known[outcome.update_id] = outcome
        while len(self._known) > 2 * KEPT_OUTCOMES:
            del self._known[next(iter(self._known))]

    async def _refuse(self, update_id: str, reason: Reason, message: str) -> None:
        metrics.PROMPTS.labels("refused").inc()
        await self._say(Updated.OUTCOME_REFUSED, update_id, 0, reason, message)

    async def _fail(self, update_id: str, reason: Reason, message: str) -> None:
        metrics.PROMPTS.labels("failed").inc()
        await self._say(Updated.OUTCOME_FAILED, update_id, 0, reason, message)

    async def _answer(self, outcome: PromptOutcome) -> None:
        applied = outcome.outcome == Updated.OUTCOME_APPLIED
        metrics.PROMPTS.labels("applied" if applied else "superseded").inc()
        await self._say(outcome.outcome, outcome.update_id, outcome.first_frame)

    async def _say(
        self, outcome: int, update_id: str, first_frame: int, reason: str = "", message: str = ""
    ) -> None:
        updated = Updated(
            update_id=update_id,
            outcome=outcome,  # type: ignore[arg-type]
            first_frame=first_frame,
            reason=reason,
            message=message,
        )
        await self._outbox.put(stream_pb2.StreamResponse(prompt_updated=updated))


def _public(error: Exception, timeout_s: float) -> tuple[Reason, str]:
    """Returns reason and text for the client; those of unknown errors are only in the log."""
    if isinstance(error, TimeoutError):
        return Reason.NO_WORKER, f"no worker encoded the prompt within {timeout_s:g} s"
    if isinstance(error, ServiceError):
        return error.reason, str(error)
    if isinstance(error, StoreError):
        return Reason.STORE_UNAVAILABLE, str(error)
    return Reason.INTERNAL, "the prompt could not be encoded"
