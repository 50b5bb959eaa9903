"""The store in this process's memory: for one gateway; sessions end with it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from services.gateway.store.key_counts import KeyCounts
from services.gateway.store.limits import WAITING_INTERRUPTS, StoreLimits
from services.gateway.store.paging import read_place, write_place
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
from services.gateway.store.session_store import (
    FenceLost,
    KeyLimits,
    Page,
    RequestConflict,
    SessionBusy,
    SessionGone,
    session_gone,
)

_SWEEP_EVERY_S = 1.0
"""Interval at which expired entries are removed while streams are open."""


@dataclass
class _Entry:
    setting: SessionSetting
    state: SessionState
    last_s: float
    expires_s: float = 0.0
    expires_at_s: float = 0.0  # the same time by the wall clock, for display
    fence: int = 0
    owner: str = ""
    seen_s: float = 0.0
    interrupts: list[tuple[InterruptRequest, float]] = field(default_factory=list)

    def record(self, *, light: bool = False) -> SessionRecord:
        state = self.state
        if light:
            empty = np.zeros((0,), np.float32)
            where = dataclasses.replace(state.position, tail=())
            state = dataclasses.replace(
                state, position=where, motion_z=empty, history=(), plan=None, loop=()
            )
        return SessionRecord(self.setting, state, self.fence, self.owner, self.expires_at_s)


class MemoryStore:
    """A ``SessionStore`` in memory. Instances share nothing.

    Args:
        limits: timeouts and lifetimes.
        now_s: monotonic seconds, so that changes of the wall clock do not affect expiry.
        wall_s: seconds since 1970, for displayed times.
    """

    def __init__(
        self,
        limits: StoreLimits | None = None,
        now_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._limits = limits or StoreLimits()
        self._now_s, self._wall_s = now_s, wall_s
        self._entries: dict[str, _Entry] = {}
        self._requests: dict[tuple[str, str], str] = {}
        self._assets: dict[str, SessionAsset] = {}
        self._tombs: dict[str, float] = {}
        self._outcomes: dict[tuple[str, str, str], tuple[InterruptOutcome, float]] = {}
        self._counts: dict[str, KeyCounts] = {}
        self._leases: dict[str, dict[str, float]] = {}
        self._next_sweep_s = -math.inf

    async def create(
        self, setting: SessionSetting, state: SessionState, asset: SessionAsset
    ) -> tuple[SessionRecord, bool]:
        """Stores a new session, or returns the one of a repeated request."""
        known = await self.find_request(
            setting.request_id, setting.request_digest, setting.key_name
        )
        if known is not None:
            return known, False
        self._assets[asset.digest] = asset
        entry = _Entry(setting, state, self._now_s() + setting.max_lifetime_s)
        self._entries[setting.session_id] = entry
        self._requests[setting.key_name, setting.request_id] = setting.session_id
        self._refresh(entry)
        return entry.record(), True

    async def admit(
        self, key_name: str, session_id: str, limits: KeyLimits, lease_s: float
    ) -> None:
        """Counts a session that is about to be created; raises KeyFull at a limit of the key."""
        self._sweep()
        mine = [name for name, e in self._entries.items() if e.setting.key_name == key_name]
        counts = self._counts.setdefault(key_name, KeyCounts())
        counts.admit(key_name, session_id, mine, limits, self._now_s(), lease_s)

    async def settle(self, key_name: str, session_id: str, *, begun: bool) -> None:
        """Ends the count of a session in creation."""
        counts = self._counts.get(key_name, KeyCounts())
        counts.making.pop(session_id, None)
        if not begun:
            counts.begun.pop(session_id, None)

    async def find_request(
        self, request_id: str, request_digest: str, key_name: str = ""
    ) -> SessionRecord | None:
        """Returns the session of an earlier request, or None."""
        self._sweep()
        entry = self._entries.get(self._requests.get((key_name, request_id), ""))
        if entry is None:
            return None
        if entry.setting.request_digest != request_digest:
            raise RequestConflict(
                f"request_id {request_id} was already used for a different request"
            )
        return entry.record()

    async def load(self, session_id: str, *, light: bool = False) -> SessionRecord:
        """Returns a session; light: without arrays and history."""
        return self._entry(session_id).record(light=light)

    async def asset(self, digest: str) -> SessionAsset:
        """Returns the asset of a conditioning digest."""
        self._sweep()
        if digest not in self._assets:
            raise SessionGone(f"asset {digest} was deleted or has expired")
        return self._assets[digest]

    async def claim(self, session_id: str, owner: str, *, replace: bool) -> SessionRecord:
        """Takes a session under a new fence."""
        entry = self._entry(session_id)
        overdue = self._now_s() - entry.seen_s >= self._limits.owner_timeout_s
        if entry.owner and not replace and not overdue:
            raise SessionBusy(f"session {session_id} has an open stream")
        entry.fence += 1
        entry.owner = owner
        self._refresh(entry)
        return entry.record()

    async def begin(self, session_id: str, fence: int, plan: ChunkPlan) -> None:
        """Stores the plan of the next chunk."""
        entry = self._owned(session_id, fence)
        entry.state = entry.state.begin(plan)
        self._refresh(entry)

    async def commit(
        self, session_id: str, fence: int, state: SessionState, asset: SessionAsset | None = None
    ) -> None:
        """Stores the state after a chunk, an interruption or a new prompt."""
        entry = self._owned(session_id, fence)
        before, entry.state = entry.state.scene, state
        if asset is not None:
            self._assets[asset.digest] = asset
        if before != state.scene:
            self._forget_asset(before)
        self._refresh(entry)

    async def heartbeat(self, session_id: str, fence: int) -> Signals:
        """Renews the ownership; returns pending interruptions."""
        # Every stream calls this twice a second: it does not scan the other sessions each time.
        if self._now_s() >= self._next_sweep_s:
            self._sweep()
        try:
            entry = self._owned(session_id, fence)
        except SessionGone:
            if self._tombs.get(session_id, -math.inf) > self._now_s():
                return Signals(deleted=True, interrupts=())
            raise
        self._refresh(entry)
        now_s = self._now_s()
        asked = tuple(request for request, until_s in entry.interrupts if until_s > now_s)
        entry.interrupts.clear()
        return Signals(deleted=False, interrupts=asked)

    async def release(self, session_id: str, fence: int) -> None:
        """Ends the ownership."""
        entry = self._owned(session_id, fence)
        entry.owner = ""
        self._refresh(entry)

    async def delete(self, session_id: str) -> bool:
        """Deletes a session; returns whether it existed."""
        self._sweep()
        return self._remove(session_id)

    async def check(self) -> None:
        """Returns at once: memory is always available."""

    async def page(self, size: int, token: str, key_name: str = "") -> Page:
        """Returns a page of a key's sessions."""
        self._sweep()
        after = read_place(token)
        mine = ((name, e) for name, e in self._entries.items() if e.setting.key_name == key_name)
        places = sorted(((e.setting.created_s, name), e) for name, e in mine)
        rest = [(place, entry) for place, entry in places if after is None or place > after]
        records = tuple(entry.record(light=True) for _, entry in rest[:size])
        last = write_place(*rest[size - 1][0]) if len(rest) > size else ""
        return Page(records, last)

    async def ask_interrupt(
        self, session_id: str, request: InterruptRequest, key_name: str = ""
    ) -> None:
        """Queues an interruption for the owner."""
        until_s = self._now_s() + self._limits.interrupt_s
        waiting = self._entry(session_id).interrupts
        waiting.append((request, until_s))
        del waiting[:-WAITING_INTERRUPTS]

    async def answer_interrupt(
        self, session_id: str, outcome: InterruptOutcome, key_name: str = ""
    ) -> None:
        """Stores the outcome of an interruption."""
        self._entry(session_id)
        until_s = self._now_s() + self._limits.answer_s
        self._outcomes[key_name, session_id, outcome.interrupt_id] = (outcome, until_s)

    async def interrupt_outcome(
        self, session_id: str, interrupt_id: str, key_name: str = ""
    ) -> InterruptOutcome | None:
        """Returns the outcome of an interruption, or None."""
        place = (key_name, session_id, interrupt_id)
        outcome, until_s = self._outcomes.get(place, (None, 0.0))
        if outcome is not None and until_s > self._now_s():
            return outcome
        self._entry(session_id)
        return None

    async def take_slot(self, worker_id: str, slots: int, session_id: str, lease_s: float) -> bool:
        """Leases a slot or renews the lease; returns False if all are taken."""
        leases, now_s = self._leases.setdefault(worker_id, {}), self._now_s()
        # Every stream renews its lease twice a second: that does not scan the other leases.
        if leases.get(session_id, -math.inf) <= now_s:
            leases = self._live(worker_id)
            if len(leases) >= slots:
                return False
        leases[session_id] = now_s + lease_s
        return True

    async def give_slot(self, worker_id: str, session_id: str) -> None:
        """Frees a slot."""
        self._live(worker_id).pop(session_id, None)

    async def find_slot(self, worker_ids: Sequence[str], session_id: str) -> str | None:
        """Returns the worker with a slot of the session, or None."""
        return next((w for w in worker_ids if session_id in self._live(w)), None)

    async def taken_slots(self, worker_ids: Sequence[str]) -> dict[str, int]:
        """Returns the number of valid leases per worker."""
        return {worker_id: len(self._live(worker_id)) for worker_id in worker_ids}

    async def close(self) -> None:
        """Deletes everything."""
        self._entries.clear()
        self._assets.clear()
        self._outcomes.clear()

    def _entry(self, session_id: str) -> _Entry:
        # Checks only this session: this is called many times a second.
        entry = self._entries.get(session_id)
        if entry is not None and entry.expires_s <= self._now_s():
            self._remove(session_id)
            entry = None
        if entry is None:
            raise session_gone(session_id)
        return entry

    def _owned(self, session_id: str, fence: int) -> _Entry:
        entry = self._entry(session_id)
        if entry.fence != fence:
            raise FenceLost(f"session {session_id} was taken over by another stream")
        return entry

    def _refresh(self, entry: _Entry) -> None:
        setting, now_s = entry.setting, self._now_s()
        entry.seen_s = now_s
        entry.expires_s = min(now_s + setting.ttl_s, entry.last_s)
        entry.expires_at_s = self._wall_s() + entry.expires_s - now_s

    def _sweep(self) -> None:
        now_s = self._now_s()
        self._next_sweep_s = now_s + _SWEEP_EVERY_S
        for name in [n for n, e in self._entries.items() if e.expires_s <= now_s]:
            self._remove(name)
        for name in [n for n, until_s in self._tombs.items() if until_s <= now_s]:
            del self._tombs[name]
        for key in [k for k, (_, until_s) in self._outcomes.items() if until_s <= now_s]:
            del self._outcomes[key]
        for name in [name for name, counts in self._counts.items() if counts.forget(now_s)]:
            del self._counts[name]

    def _remove(self, session_id: str) -> bool:
        entry = self._entries.pop(session_id, None)
        if entry is None:
            return False
        self._tombs[session_id] = self._now_s() + self._limits.tombstone_s
        self._requests.pop((entry.setting.key_name, entry.setting.request_id), None)
        self._forget_asset(entry.setting.asset)
        self._forget_asset(entry.state.scene)
        return True

    def _forget_asset(self, digest: str) -> None:
        """Removes an asset that no session needs any more."""
        needed = ((e.setting.asset, e.state.scene) for e in self._entries.values())
        if not any(digest in digests for digests in needed):
            self._assets.pop(digest, None)

    def _live(self, worker_id: str) -> dict[str, float]:
        leases = self._leases.setdefault(worker_id, {})
        now_s = self._now_s()
        for name in [name for name, until_s in leases.items() if until_s <= now_s]:
            del leases[name]
        return leases
