"""The store in Redis: gateways share it and can take over each other's sessions.

Every step is one script, so it is atomic; a step that is repeated because its first answer was lost
takes effect once. The contents of each key are described in ``lua/session.lua``.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import secrets
from collections.abc import Sequence
from typing import Any

from services.gateway.store import codec
from services.gateway.store.calls import RedisCalls
from services.gateway.store.key_counts import MINUTE_S, too_many_begun, too_many_open
from services.gateway.store.known_arrays import KnownArrays
from services.gateway.store.limits import WAITING_INTERRUPTS, StoreLimits
from services.gateway.store.paging import Place, read_place, write_place
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
from services.gateway.store.redis_fields import (
    array_arguments,
    array_fields,
    as_ms,
    field_pairs,
    key_parts,
)
from services.gateway.store.session_store import (
    KeyLimits,
    Page,
    RequestConflict,
    SessionGone,
    StoreError,
)

# Larger amounts are digested in a thread, so that the event loop is not blocked.
_THREAD_BYTES = 1 << 20

_CHECK_MS = 1_000


class RedisStore:
    """A ``SessionStore`` in Redis.

    Args:
        url: of the server.
        limits: timeouts, lifetimes and the prefix of all keys.
    """

    def __init__(self, url: str, limits: StoreLimits | None = None) -> None:
        self._limits = limits or StoreLimits()
        self._calls = RedisCalls(url, self._limits)
        self._codec = codec.StateCodec()
        self._known = KnownArrays()
        # Increases with every write, so that an abandoned write cannot undo a later one.
        self._turns = itertools.count(1)

    async def create(
        self, setting: SessionSetting, state: SessionState, asset: SessionAsset
    ) -> tuple[SessionRecord, bool]:
        """Stores a new session, or returns the one of a repeated request."""
        limits, session_id = self._limits, setting.session_id
        asset_key = await self._keep_asset(asset, setting.ttl_s)
        form = await self._encoded(state)
        keys = [
            self._session(session_id),
            self._key(*key_parts(setting.key_name, "request"), setting.request_id),
            self._key(*key_parts(setting.key_name, "sessions")),
            asset_key,
        ]
        verdict, *rest = await self._calls.script(
            "create",
            keys,
            codec.encode_setting(setting),
            form.head,
            as_ms(setting.ttl_s),
            as_ms(setting.max_lifetime_s),
            as_ms(limits.tombstone_s),
            as_ms(limits.asset_margin_s),
            session_id,
            repr(setting.created_s),
            self._session(""),
            *array_arguments(form.arrays, form.arrays),
        )
        if verdict == b"known":
            known = await self.load(rest[0].decode())
            return _of_request(known, setting.request_digest), False
        if verdict != b"ok":
            raise StoreError(f"the store rejected a new session: {verdict.decode()}")
        self._known.replace(session_id, form.arrays)
        return SessionRecord(setting, state, 0, "", float(rest[0]) / 1000), True

    async def admit(
        self, key_name: str, session_id: str, limits: KeyLimits, lease_s: float
    ) -> None:
        """Counts a session that is about to be created; raises KeyFull at a limit of the key."""
        keys = [self._key(*key_parts(key_name, kind)) for kind in ("sessions", "making", "begun")]
        verdict, wait_ms = await self._calls.script(
            "admit",
            keys,
            session_id,
            limits.max_sessions,
            limits.per_minute,
            as_ms(lease_s),
            as_ms(MINUTE_S),
            self._session(""),
        )
        if verdict == b"open":
            raise too_many_open(key_name, limits)
        if verdict == b"begun":
            raise too_many_begun(key_name, limits, wait_ms / 1000)

    async def settle(self, key_name: str, session_id: str, *, begun: bool) -> None:
        """Ends the count of a session in creation."""
        for kind in ("making",) if begun else ("making", "begun"):
            key = self._key(*key_parts(key_name, kind))
            await self._calls.call(functools.partial(self._calls.redis.zrem, key, session_id))

    async def find_request(
        self, request_id: str, request_digest: str, key_name: str = ""
    ) -> SessionRecord | None:
        """Returns the session of an earlier request, or None."""
        key = self._key(*key_parts(key_name, "request"), request_id)
        name = await self._calls.call(lambda: self._calls.redis.get(key))
        if name is None:
            return None
        try:
            record = await self.load(name.decode())
        except SessionGone:
            return None
        return _of_request(record, request_digest)

    async def load(self, session_id: str, *, light: bool = False) -> SessionRecord:
        """Returns a session; light: without arrays and history."""
        keys = [self._session(session_id)]
        found = await self._calls.session_script("load", session_id, keys, int(light))
        return await self._record(found[1], light=light)

    async def asset(self, digest: str) -> SessionAsset:
        """Returns the asset of a conditioning digest."""
        key = self._key("asset", digest)
        fields = await self._calls.call(lambda: self._calls.redis.hgetall(key))
        if not fields:
            raise SessionGone(f"asset {digest} was deleted or has expired")
        return codec.decode_asset(fields[b"head"], array_fields(fields))

    async def claim(self, session_id: str, owner: str, *, replace: bool) -> SessionRecord:
        """Takes a session under a new fence."""
        found = await self._calls.session_script(
            "claim",
            session_id,
            [self._session(session_id)],
            owner,
            int(replace),
            as_ms(self._limits.owner_timeout_s),
            secrets.token_hex(8),
        )
        fields = field_pairs(found[1])
        self._known.replace(session_id, array_fields(fields))
        return await self._record(found[1], light=False)

    async def begin(self, session_id: str, fence: int, plan: ChunkPlan) -> None:
        """Stores the plan of the next chunk."""
        form = self._codec.encode_plan(plan)
        await self._write("begin", session_id, fence, form.arrays, form.head)
        self._known.add(session_id, form.arrays)

    async def commit(
        self, session_id: str, fence: int, state: SessionState, asset: SessionAsset | None = None
    ) -> None:
        """Stores the state after a chunk, an interruption or a new prompt."""
        if asset is not None:
            await self._keep_asset(asset, 0.0)
        scene = [self._key("asset", state.scene)] if state.scene else []
        form = await self._encoded(state)
        plan = self._codec.encode_plan(state.plan) if state.plan is not None else None
        arrays = form.arrays | plan.arrays if plan is not None else form.arrays
        head = plan.head if plan is not None else b""
        await self._write("commit", session_id, fence, arrays, form.head, head, others=scene)
        self._known.replace(session_id, arrays)

    async def heartbeat(self, session_id: str, fence: int) -> Signals:
        """Renews the ownership; returns pending interruptions."""
        keys = [self._session(session_id), self._key("asked", session_id)]
        _, deleted, *given = await self._calls.session_script(
            "heartbeat", session_id, keys, fence, secrets.token_hex(8)
        )
        return Signals(bool(deleted), tuple(codec.decode_interrupt(data) for data in given))

    async def release(self, session_id: str, fence: int) -> None:
        """Ends the ownership."""
        self._known.forget(session_id)
        await self._calls.session_script("release", session_id, [self._session(session_id)], fence)

    async def delete(self, session_id: str) -> bool:
        """Deletes a session; returns whether it existed."""
        self._known.forget(session_id)
        keys = [self._session(session_id), self._key("asked", session_id), self._key("sessions")]
        tombstone_ms = as_ms(self._limits.tombstone_s)
        token = secrets.token_hex(8)
        return bool(await self._calls.script("delete", keys, token, tombstone_ms, session_id))

    async def check(self) -> None:
        """Checks with a write, since a replica or a full server would reject writes."""
        key = self._key("check")
        await self._calls.call(lambda: self._calls.redis.set(key, "", px=_CHECK_MS))

    async def page(self, size: int, token: str, key_name: str = "") -> Page:
        """Returns a page of a key's sessions."""
        records: list[SessionRecord] = []
        place, index = read_place(token), self._key(*key_parts(key_name, "sessions"))
        while len(records) <= size:
            names = await self._names_after(index, place, size + 1 - len(records))
            for seconds, name in names:
                place = (seconds, name)
                try:
                    records.append(await self.load(name, light=True))
                except SessionGone:
                    # Expired; the next creation removes its name.
                    continue
            if not names:
                return Page(tuple(records), "")
        last = records[size - 1].setting
        return Page(tuple(records[:size]), write_place(last.created_s, last.session_id))

    async def ask_interrupt(
        self, session_id: str, request: InterruptRequest, key_name: str = ""
    ) -> None:
        """Queues an interruption for the owner."""
        keys = [
            self._session(session_id),
            self._key("asked", session_id),
            self._answer(key_name, session_id, request.interrupt_id),
        ]
        limits = self._limits
        await self._calls.session_script(
            "ask",
            session_id,
            keys,
            codec.encode_interrupt(request),
            as_ms(limits.interrupt_s),
            as_ms(limits.answer_s),
            WAITING_INTERRUPTS,
            int(not request.interrupt_id),
        )

    async def answer_interrupt(
        self, session_id: str, outcome: InterruptOutcome, key_name: str = ""
    ) -> None:
        """Stores the outcome of an interruption."""
        answer = self._answer(key_name, session_id, outcome.interrupt_id)
        keys = [self._session(session_id), answer]
        kept_ms = as_ms(self._limits.answer_s)
        data = codec.encode_outcome(outcome)
        await self._calls.session_script("answer", session_id, keys, data, kept_ms)

    async def interrupt_outcome(
        self, session_id: str, interrupt_id: str, key_name: str = ""
    ) -> InterruptOutcome | None:
        """Returns the outcome of an interruption, or None."""
        keys = [self._session(session_id), self._answer(key_name, session_id, interrupt_id)]
        _, data = await self._calls.session_script("outcome", session_id, keys)
        return codec.decode_outcome(data) if data else None

    async def take_slot(self, worker_id: str, slots: int, session_id: str, lease_s: float) -> bool:
        """Leases a slot or renews the lease; returns False if all are taken."""
        keys = [self._leases(worker_id)]
        return bool(await self._calls.script("take_slot", keys, session_id, slots, as_ms(lease_s)))

    async def give_slot(self, worker_id: str, session_id: str) -> None:
        """Frees a slot."""
        key = self._leases(worker_id)
        await self._calls.call(lambda: self._calls.redis.zrem(key, session_id))

    async def find_slot(self, worker_ids: Sequence[str], session_id: str) -> str | None:
        """Returns the worker with a slot of the session, or None."""
        counts = await self._counts(worker_ids, session_id)
        return next((w for w, (_, held) in zip(worker_ids, counts, strict=True) if held), None)

    async def taken_slots(self, worker_ids: Sequence[str]) -> dict[str, int]:
        """Returns the number of valid leases per worker."""
        counts = await self._counts(worker_ids, "")
        return {w: taken for w, (taken, _) in zip(worker_ids, counts, strict=True)}

    async def close(self) -> None:
        """Closes the connections."""
        await self._calls.close()

    async def _counts(self, worker_ids: Sequence[str], session_id: str) -> list[list[int]]:
        asked = (
            self._calls.script("count_slots", [self._leases(w)], session_id) for w in worker_ids
        )
        return list(await asyncio.gather(*asked))

    async def _keep_asset(self, asset: SessionAsset, life_s: float) -> str:
        """Stores an asset for at least ``life_s`` and the margin; returns its key."""
        form, key = codec.encode_asset(asset), self._key("asset", asset.digest)
        fields = [
            item for pair in form.arrays.items() for item in (b"a" + pair[0], pair[1].tobytes())
        ]
        life_ms = as_ms(life_s + self._limits.asset_margin_s)
        await self._calls.script("keep_asset", [key], life_ms, "head", form.head, *fields)
        return key

    async def _write(
        self,
        script: str,
        session_id: str,
        fence: int,
        arrays: codec.ArraysByDigest,
        *heads: bytes,
        others: Sequence[str] = (),
    ) -> None:
        """Writes as the owner without the stored arrays; with all of them if one is missing.

        ``others``: keys that the script needs beside that of the session.
        """
        keys, turn = [self._session(session_id), *others], next(self._turns)
        for sent in (self._known.unsent(session_id, arrays), arrays):
            verdict, *_ = await self._calls.session_script(
                script, session_id, keys, fence, turn, *heads, *array_arguments(arrays, sent)
            )
            if verdict == b"ok":
                return
        raise StoreError(f"arrays of a {script} are missing in the store")

    async def _encoded(self, state: SessionState) -> codec.Form:
        if self._codec.unknown_bytes(state) > _THREAD_BYTES:
            return await asyncio.to_thread(self._codec.encode, state)
        return self._codec.encode(state)

    async def _record(self, flat: Sequence[Any], *, light: bool) -> SessionRecord:
        fields = field_pairs(flat)
        values = None if light else array_fields(fields)
        plan = b"" if light else fields.get(b"plan") or b""
        return SessionRecord(
            setting=codec.decode_setting(fields[b"setting"]),
            state=codec.decode_state(fields[b"state"], plan, values),
            fence=int(fields[b"fence"]),
            owner=fields[b"owner"].decode(),
            expires_s=float(fields[b"expires"]) / 1000,
        )

    async def _names_after(self, index: str, place: Place | None, count: int) -> list[Place]:
        """Returns the next names by time and name; includes all names of the same instant."""
        low = "-inf" if place is None else repr(place[0])
        names: list[Place] = []
        for start in itertools.count(0, count):
            found = await self._calls.call(
                functools.partial(
                    self._calls.redis.zrange,
                    index,
                    low,
                    "+inf",
                    byscore=True,
                    offset=start,
                    num=count,
                    withscores=True,
                )
            )
            places = ((float(score), name.decode()) for name, score in found)
            names += [each for each in places if place is None or each > place]
            if len(names) >= count or len(found) < count:
                return names[:count]
        raise AssertionError("unreachable")

    def _key(self, *parts: str) -> str:
        return ":".join((self._limits.prefix, *parts))

    def _session(self, session_id: str) -> str:
        return self._key("session", session_id)

    def _answer(self, key_name: str, session_id: str, interrupt_id: str) -> str:
        return self._key(*key_parts(key_name, "answer"), session_id, interrupt_id)

    def _leases(self, worker_id: str) -> str:
        return self._key("worker", worker_id)


def _of_request(record: SessionRecord, digest: str) -> SessionRecord:
    """Returns an earlier request's session. Raises RequestConflict if it was another request."""
    if record.setting.request_digest != digest:
        name = record.setting.request_id
        raise RequestConflict(f"request_id {name} was already used for a different request")
    return record
