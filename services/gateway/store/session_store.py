"""The store of sessions: one interface, two forms (Redis, and this process's memory)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from flashtalk.errors import FlashTalkError
from services.gateway.store.records import (
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


class KeyFull(FlashTalkError):
    """An API key has all that it may have.

    Args:
        message: for people.
        limit: the field of its entry; retry_after_s: when it is worth trying again.
    """

    def __init__(self, message: str, limit: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.limit, self.retry_after_s = limit, retry_after_s


def session_gone(session_id: str) -> SessionGone:
    """The one error for a session that is not there, and for one that belongs to another key."""
    return SessionGone(f"session {session_id} is gone: deleted, expired or never made")


@dataclass(frozen=True)
class KeyLimits:
    """Of one API key, over all gateways together; 0 for any number.

    Args:
        max_sessions: open or being made at once; per_minute: begun within any minute.
    """

    max_sessions: int = 0
    per_minute: int = 0


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

    ``key_name`` is that of the API key that a session belongs to. Ids of requests, lists of
    sessions and outcomes of interruptions of one key are unknown under any other.
    """

    async def create(
        self, setting: SessionSetting, state: SessionState, asset: SessionAsset
    ) -> tuple[SessionRecord, bool]:
        """Makes a session; or finds the one that the same request made, and says False.

        Raises RequestConflict if the request id belongs to another digest.
        """

    async def admit(
        self, key_name: str, session_id: str, limits: KeyLimits, lease_s: float
    ) -> None:
        """Counts a session that is about to be made. Raises KeyFull if its key has all it may have.

        Until ``settle``, or for ``lease_s``, it counts as open.
        """

    async def settle(self, key_name: str, session_id: str, *, begun: bool) -> None:
        """It was made, or will not be; if not even begun, it does not count for its minute."""

    async def find_request(
        self, request_id: str, request_digest: str, key_name: str = ""
    ) -> SessionRecord | None:
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

    async def page(self, size: int, token: str, key_name: str = "") -> Page:
        """Sessions of a key, oldest first. Raises InputError for a token that is none."""

    async def ask_interrupt(
        self, session_id: str, request: InterruptRequest, key_name: str = ""
    ) -> None:
        """Leaves an interruption for the owner of the session."""

    async def answer_interrupt(
        self, session_id: str, outcome: InterruptOutcome, key_name: str = ""
    ) -> None:
        """Leaves what became of it for whoever asked."""

    async def interrupt_outcome(
        self, session_id: str, interrupt_id: str, key_name: str = ""
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
