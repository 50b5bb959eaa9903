"""The session store: one interface, two implementations (Redis, and this process's memory)."""

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
    """Another owner has taken the session."""


class SessionBusy(FlashTalkError):
    """The session has an open stream, which was not to be replaced."""


class RequestConflict(FlashTalkError):
    """The request id was used before, for another request."""


class KeyFull(FlashTalkError):
    """A limit of an API key is reached.

    Args:
        message: text of the error.
        limit: name of the limit in its entry; retry_after_s: delay before a retry.
    """

    def __init__(self, message: str, limit: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.limit, self.retry_after_s = limit, retry_after_s


def session_gone(session_id: str) -> SessionGone:
    """Returns the error for a missing session, also used for a session of another key."""
    return SessionGone(f"session {session_id} does not exist: never created, deleted or expired")


@dataclass(frozen=True)
class KeyLimits:
    """Limits of one API key, summed over all gateways; 0: no limit.

    Args:
        max_sessions: open or in creation; per_minute: creations in any minute.
    """

    max_sessions: int = 0
    per_minute: int = 0


@dataclass(frozen=True)
class Page:
    """Sessions, oldest first, and the token of the next page (empty: none).

    The records are light (``SessionStore.load``).
    """

    records: tuple[SessionRecord, ...]
    next_token: str


class SessionStore(Protocol):
    """The state of a gateway outside of its process.

    Every method is atomic, ends within the store's deadline, and raises ``StoreError`` if it
    fails. Writes of a session include the fence of its owner; they raise ``FenceLost`` if the fence
    is not the newest, ``SessionGone`` if the session does not exist. A write moves ``expires_s``.

    ``key_name`` is the API key to which a session belongs. Request ids, lists of sessions and
    outcomes of interruptions are separate for each key.
    """

    async def create(
        self, setting: SessionSetting, state: SessionState, asset: SessionAsset
    ) -> tuple[SessionRecord, bool]:
        """Creates a session, True; or returns the one of the same request, False.

        Raises RequestConflict if the request id was used with another digest.
        """

    async def admit(
        self, key_name: str, session_id: str, limits: KeyLimits, lease_s: float
    ) -> None:
        """Counts a session before its creation. Raises KeyFull if a limit of its key is reached.

        Until ``settle``, or for ``lease_s``, the session counts as open.
        """

    async def settle(self, key_name: str, session_id: str, *, begun: bool) -> None:
        """Ends the count in creation; if not begun, the session does not count for its minute."""

    async def find_request(
        self, request_id: str, request_digest: str, key_name: str = ""
    ) -> SessionRecord | None:
        """Returns the session of an earlier request. Raises RequestConflict as ``create``."""

    async def load(self, session_id: str, *, light: bool = False) -> SessionRecord:
        """Returns a session. Raises SessionGone.

        Light: without arrays and history. A full record is megabytes; a light one is enough for the
        position of a session.
        """

    async def asset(self, digest: str) -> SessionAsset:
        """Returns an asset. Raises SessionGone."""

    async def claim(self, session_id: str, owner: str, *, replace: bool) -> SessionRecord:
        """Takes a session under a new fence. Raises SessionBusy if its owner's heartbeat is not
        overdue, unless the owner is to be replaced."""

    async def begin(self, session_id: str, fence: int, plan: ChunkPlan) -> None:
        """Stores the plan of the next chunk."""

    async def commit(
        self, session_id: str, fence: int, state: SessionState, asset: SessionAsset | None = None
    ) -> None:
        """Stores the state after a chunk, an interruption or a new prompt, with or without a plan.

        ``asset`` is the one of ``state.scene``, if it is new. It lives as long as the session.
        """

    async def heartbeat(self, session_id: str, fence: int) -> Signals:
        """Renews the ownership; returns queued interruptions, each once."""

    async def release(self, session_id: str, fence: int) -> None:
        """Ends the ownership; the session lives for its ``ttl_s``."""

    async def delete(self, session_id: str) -> bool:
        """Ends a session; its owner learns of it at the next heartbeat. False: there was none."""

    async def check(self) -> None:
        """Checks that the store can be written. Raises StoreError, with the reason, if not."""

    async def page(self, size: int, token: str, key_name: str = "") -> Page:
        """Returns sessions of a key, oldest first. Raises InputError for an invalid token."""

    async def ask_interrupt(
        self, session_id: str, request: InterruptRequest, key_name: str = ""
    ) -> None:
        """Queues an interruption for the owner of the session."""

    async def answer_interrupt(
        self, session_id: str, outcome: InterruptOutcome, key_name: str = ""
    ) -> None:
        """Stores the outcome of an interruption for the caller that requested it."""

    async def interrupt_outcome(
        self, session_id: str, interrupt_id: str, key_name: str = ""
    ) -> InterruptOutcome | None:
        """Returns the outcome of an interruption, or None if there is none yet."""

    async def take_slot(self, worker_id: str, slots: int, session_id: str, lease_s: float) -> bool:
        """Leases one of a worker's ``slots`` for a session, or renews its lease; returns False if
        all are taken by others."""

    async def give_slot(self, worker_id: str, session_id: str) -> None:
        """Frees a slot; idempotent."""

    async def find_slot(self, worker_ids: Sequence[str], session_id: str) -> str | None:
        """Returns the worker of which a session has a slot, if any."""

    async def taken_slots(self, worker_ids: Sequence[str]) -> dict[str, int]:
        """Returns the number of valid leases per worker."""

    async def close(self) -> None:
        """Closes the connections."""
