"""Converts records to messages of ``state.proto`` with separate arrays, and back.

A record becomes a *form*: one small message, and its arrays under the digests of their contents.
Equal arrays of a session, such as a chunk's sound in its plan, in the history and in the tail, are
stored once, and a commit writes only arrays that are not stored yet.

Legend: S samples.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from flashtalk.arrays import FloatArray
from flashtalk.streaming import Position
from flashtalk.v1 import state_pb2 as pb
from flashtalk.wire.stream_spec import spec_from_proto, spec_to_proto
from services.gateway.store.records import (
    ChunkPlan,
    ChunkRecord,
    InterruptOutcome,
    InterruptRequest,
    PromptOutcome,
    SessionAsset,
    SessionSetting,
    SessionState,
)
from services.gateway.store.session_store import StoreError

_VERSION = 1
_DIGEST_BYTES = 16

ArraysByDigest = dict[bytes, FloatArray]
Values = Mapping[bytes, bytes]
MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, eq=False)
class Form:
    """The stored form of a record.

    Args:
        head: the serialised message.
        arrays: by digest, float32, little-endian, row-major.
    """

    head: bytes
    arrays: ArraysByDigest


class StateCodec:
    """Converts states to forms; caches the digests of arrays.

    Records are values: their arrays never change, so a digest is computed once per array.
    """

    def __init__(self) -> None:
        self._digests: dict[int, tuple[weakref.ref[FloatArray], bytes]] = {}

    def unknown_bytes(self, state: SessionState) -> int:
        """Returns the bytes that ``encode`` must digest; many of them need a thread."""
        chunks = (record.latents for record in state.history)
        arrays = (state.motion_z, *state.position.tail, *chunks, *state.loop)
        return sum(array.nbytes for array in arrays if self._known(array) is None)

    def encode(self, state: SessionState) -> Form:
        """A state without its plan."""
        arrays: ArraysByDigest = {}
        message = pb.StoredState(
            version=_VERSION,
            motion=self._put(arrays, state.motion_z),
            chunk_index=state.position.chunk_index,
            next_frame=state.position.next_frame,
            tail=[self._put(arrays, piece_S) for piece_S in state.position.tail],
            history=[self._chunk(arrays, record) for record in state.history],
            loop=[self._put(arrays, latents) for latents in state.loop],
            prompt_outcomes=[
                pb.StoredPromptOutcome(**dataclasses.asdict(outcome))
                for outcome in state.prompt_outcomes
            ],
            **_scalars(state, pb.StoredState),
        )
        return Form(message.SerializeToString(), arrays)

    def encode_plan(self, plan: ChunkPlan) -> Form:
        """A plan."""
        arrays: ArraysByDigest = {}
        return Form(self._plan(arrays, plan).SerializeToString(), arrays)

    def _chunk(self, arrays: ArraysByDigest, record: ChunkRecord) -> pb.StoredChunk:
        latents = self._put(arrays, record.latents)
        return pb.StoredChunk(plan=self._plan(arrays, record.plan), latents=latents)

    def _plan(self, arrays: ArraysByDigest, plan: ChunkPlan) -> pb.StoredPlan:
        pcm = self._put(arrays, plan.pcm_S)
        return pb.StoredPlan(version=_VERSION, pcm=pcm, **_scalars(plan, pb.StoredPlan))

    def _put(self, arrays: ArraysByDigest, array: FloatArray) -> pb.StoredArray:
        stored = _put(arrays, array, self._known(array))
        name = id(array)
        if name not in self._digests:
            # Removed with the array, before a new array can get its id.
            reference = weakref.ref(array, lambda _: self._digests.pop(name, None))
            self._digests[name] = (reference, stored.digest)
        return stored

    def _known(self, array: FloatArray) -> bytes | None:
        found = self._digests.get(id(array))
        return found[1] if found is not None and found[0]() is array else None


def decode_state(head: bytes, plan: bytes, values: Values | None) -> SessionState:
    """Returns the state of a form.

    Args:
        head: its message.
        plan: message of its plan; empty without one.
        values: arrays by digest. None: without arrays and history.

    Raises:
        StoreError: an unknown version, or an array that is missing or has the wrong size.
    """
    message = _read(pb.StoredState, head)
    chunks = message.history if values is not None else ()
    tail = tuple(_get(values, piece) for piece in message.tail) if values is not None else ()
    loop = tuple(_get(values, latents) for latents in message.loop) if values is not None else ()
    return SessionState(
        position=Position(message.chunk_index, message.next_frame, tail),
        motion_z=_get(values, message.motion),
        loop=loop,
        history=tuple(
            ChunkRecord(_plan_of(chunk.plan, values), _get(values, chunk.latents))
            for chunk in chunks
        ),
        plan=_plan_of(_read(pb.StoredPlan, plan), values) if plan else None,
        prompt_outcomes=tuple(
            PromptOutcome(**_scalars(outcome, PromptOutcome)) for outcome in message.prompt_outcomes
        ),
        **_scalars(message, SessionState),
    )


def encode_setting(setting: SessionSetting) -> bytes:
    """Converts a setting; equal settings give equal bytes."""
    message = pb.StoredSetting(
        version=_VERSION,
        geometry=spec_to_proto(setting.spec),
        **_scalars(setting, pb.StoredSetting),
    )
    return message.SerializeToString(deterministic=True)


def decode_setting(data: bytes) -> SessionSetting:
    """Returns the setting. Raises StoreError for an unknown version."""
    message = _read(pb.StoredSetting, data)
    spec = spec_from_proto(message.geometry)
    return SessionSetting(spec=spec, **_scalars(message, SessionSetting))


def encode_asset(asset: SessionAsset) -> Form:
    """An asset."""
    arrays: ArraysByDigest = {}
    message = pb.StoredAsset(
        version=_VERSION,
        digest=asset.digest,
        weights_digest=asset.weights_digest,
        color=_put(arrays, asset.color),
        portrait=_put(arrays, asset.portrait_z),
        conditioning=asset.conditioning,
        portrait_rgb=asset.portrait_rgb,
    )
    return Form(message.SerializeToString(), arrays)


def decode_asset(head: bytes, values: Values) -> SessionAsset:
    """Returns the asset. Raises StoreError as ``decode_state``."""
    message = _read(pb.StoredAsset, head)
    return SessionAsset(
        digest=message.digest,
        weights_digest=message.weights_digest,
        color=_get(values, message.color),
        conditioning=message.conditioning,
        portrait_z=_get(values, message.portrait),
        portrait_rgb=message.portrait_rgb,
    )


def encode_interrupt(request: InterruptRequest) -> bytes:
    """Converts a requested interruption."""
    return pb.StoredInterrupt(
        interrupt_id=request.interrupt_id, played_frames=request.played_frames
    ).SerializeToString()


def decode_interrupt(data: bytes) -> InterruptRequest:
    """Returns the requested interruption."""
    message = pb.StoredInterrupt.FromString(data)
    played = message.played_frames if message.HasField("played_frames") else None
    return InterruptRequest(message.interrupt_id, played)


def encode_outcome(outcome: InterruptOutcome) -> bytes:
    """Converts the outcome of an interruption."""
    return pb.StoredOutcome(**dataclasses.asdict(outcome)).SerializeToString()


def decode_outcome(data: bytes) -> InterruptOutcome:
    """Returns the outcome of an interruption."""
    return InterruptOutcome(**_scalars(pb.StoredOutcome.FromString(data), InterruptOutcome))


def _put(arrays: ArraysByDigest, array: FloatArray, digest: bytes | None = None) -> pb.StoredArray:
    if array.dtype != np.float32:
        raise TypeError(f"records contain float32, not {array.dtype}")
    flat = np.ascontiguousarray(array, "<f4")
    if digest is None:
        digest = hashlib.sha256(flat.data).digest()[:_DIGEST_BYTES]
    arrays[digest] = flat
    return pb.StoredArray(shape=array.shape, digest=digest)


def _get(values: Values | None, stored: pb.StoredArray) -> FloatArray:
    if values is None:
        return _empty()
    data = values.get(stored.digest)
    if data is None or len(data) != 4 * math.prod(stored.shape):
        raise StoreError("an array of a record is missing in the store")
    return np.frombuffer(data, "<f4").reshape(tuple(stored.shape))


def _empty() -> FloatArray:
    return np.zeros(0, np.float32)


def _plan_of(message: pb.StoredPlan, values: Values | None) -> ChunkPlan:
    return ChunkPlan(pcm_S=_get(values, message.pcm), **_scalars(message, ChunkPlan))


def _read(kind: type[MessageT], data: bytes) -> MessageT:
    try:
        message = kind.FromString(data)
    except DecodeError as error:
        raise StoreError("a record in the store cannot be read") from error
    version: int = message.version  # type: ignore[attr-defined]
    if version != _VERSION:
        raise StoreError(
            f"a record in the store has version {version}; this gateway reads version {_VERSION}"
        )
    return message


def _scalars(source: object, target: type) -> dict[str, Any]:
    """Returns the fields that a record and its message share by name, without arrays and parts."""
    return {name: getattr(source, name) for name in _SCALARS[target]}


def _fields(record: type, without: frozenset[str] = frozenset()) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(record) if f.name not in without)


_PARTS = frozenset(
    {"motion_z", "position", "history", "plan", "pcm_S", "prompt_outcomes", "loop", "spec"}
)
_SCALARS: dict[type, tuple[str, ...]] = {
    kind: _fields(record, _PARTS)
    for record, message in (
        (SessionState, pb.StoredState),
        (ChunkPlan, pb.StoredPlan),
        (SessionSetting, pb.StoredSetting),
        (InterruptOutcome, pb.StoredOutcome),
        (PromptOutcome, pb.StoredPromptOutcome),
    )
    for kind in (record, message)
}
