"""The store of sessions: one interface, two forms (Redis, and this process's memory)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from flashtalk.errors import FlashTalkError
from services.gateway.records import (
    ChunkPlan,
    InterruptOutcome,
    InterruptRequest,
    SessionAsset,
    SessionRecord,
    SessionSetting,
    SessionState,
    Signals,
)


class StoreError(FlashTalkError):
    """The store cannot be reached or does not answer in time."""


class SessionGone(FlashTalkError):
    """No such session: deleted, expired, or never made."""


class FenceLost(FlashTalkError):
    """Somebody else has taken the session."""


class SessionBusy(FlashTalkError):
    """A stream is open on the session and was not to be replaced."""


class RequestConflict(FlashTalkError):
    """The request id was used before, for something else."""


@dataclass(frozen=True)
class Page:
    """Sessions, oldest first, and where the next page begins (empty: nowhere).

    The records are light, see ``SessionStore.load``.
    """

    records: tuple[SessionRecord, ...]
    next_token: str


class SessionStore(Protocol):
    """Everything a gateway keeps outside of itself.

    Every method is atomic, ends within the store's own deadline, and raises ``StoreError`` where it
    cannot. Writes of a session carry the fence of whoever took it and raise ``FenceLost`` if that
    is not the newest, ``SessionGone`` if there is no session. A write moves ``expires_s``.
    """

    async def create(
        self, setting: SessionSetting, state: SessionState, asset: SessionAsset
    ) -> tuple[SessionRecord, bool]:
        """Makes a session; or finds the one that the same request made, and says False.

        Raises RequestConflict if the request id belongs to another digest.
        """

    async def find_request(self, request_id: str, request_digest: str) -> SessionRecord | None:
        """The session that a request made before, if any. Raises RequestConflict as ``create``."""

    async def load(self, session_id: str, *, light: bool = False) -> SessionRecord:
        """A session. Raises SessionGone.

        Light: its arrays are empty and it has no history. A whole one is megabytes; who only wants
        to know where a session stands asks for a light one.
        """

    async def asset(self, digest: str) -> SessionAsset:
        """What a portrait became. Raises SessionGone."""

    async def claim(self, session_id: str, owner: str, *, replace: bool) -> SessionRecord:
        """Takes a session under a new fence. Raises SessionBusy if it has an owner whose heartbeat
        is not overdue, unless it is to be replaced."""

    async def begin(self, session_id: str, fence: int, plan: ChunkPlan) -> None:
        """Stores the plan of the next chunk."""

    async def commit(self, session_id: str, fence: int, state: SessionState) -> None:
        """Stores the state after a chunk or an interruption, with its plan or without one."""

    async def heartbeat(self, session_id: str, fence: int) -> Signals:
        """Says that the owner lives; gives, once, what others asked for."""

    async def release(self, session_id: str, fence: int) -> None:
        """Gives the session up: no owner; it lives for its ``ttl_s``."""

    async def delete(self, session_id: str) -> bool:
        """Ends a session; its owner learns from its next heartbeat. False: there was none."""

    async def check(self) -> None:
        """Sees that sessions can be kept here. Raises StoreError, with the reason, if not."""

    async def page(self, size: int, token: str) -> Page:
        """Sessions, oldest first. Raises InputError for a token that is none."""

    async def ask_interrupt(self, session_id: str, request: InterruptRequest) -> None:
        """Leaves an interruption for the owner of the session."""

    async def answer_interrupt(self, session_id: str, outcome: InterruptOutcome) -> None:
        """Leaves what became of it for whoever asked."""

    async def interrupt_outcome(
        self, session_id: str, interrupt_id: str
    ) -> InterruptOutcome | None:
        """What became of an interruption, once it has."""

    async def take_slot(self, worker_id: str, slots: int, session_id: str, lease_s: float) -> bool:
        """Leases one of a worker's ``slots`` for a session, or renews its lease; False if all are
        taken by others."""

    async def give_slot(self, worker_id: str, session_id: str) -> None:
        """Gives a slot back; none is no error."""

    async def find_slot(self, worker_ids: Sequence[str], session_id: str) -> str | None:
        """Which of the workers a session has a slot of, if any."""

    async def taken_slots(self, worker_ids: Sequence[str]) -> dict[str, int]:
        """Leases per worker that have not run out."""

    async def close(self) -> None:
        """Gives connections back."""
