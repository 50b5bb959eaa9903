"""Records with random contents, and what makes two of them the same."""

from __future__ import annotations

import dataclasses
import time
import uuid
from typing import Any

import numpy as np

from flashtalk.arrays import FloatArray
from flashtalk.streaming import Position, StreamSpec
from services.gateway.sessions.rewind import tail_samples
from services.gateway.store.records import (
    ChunkPlan,
    ChunkRecord,
    SessionAsset,
    SessionSetting,
    SessionState,
)

SPEC = StreamSpec()


def array(*shape: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def setting(**changes: Any) -> SessionSetting:
    name = uuid.uuid4().hex
    first = SessionSetting(
        session_id=f"session-{name}",
        request_id=f"request-{name}",
        request_digest="a" * 64,
        width_px=96,
        height_px=96,
        seed=7,
        video_codec=1,
        idle_policy=1,
        pacing=1,
        asset="c" * 64,
        created_s=time.time(),
        ttl_s=6_000.0,
        max_lifetime_s=60_000.0,
    )
    return dataclasses.replace(first, **changes)


def asset(digest: str = "c" * 64) -> SessionAsset:
    return SessionAsset(digest, "w" * 64, array(2, 3), b"conditioning", array(1, 16, 1, 12, 12))


def plan(index: int, *, frames: int = 28) -> ChunkPlan:
    pcm = array(SPEC.new_samples, seed=index)
    return ChunkPlan(
        index=index,
        epoch=0,
        first_frame=index * 28,
        frames=frames,
        pcm_S=pcm,
        input_samples=index * 17_920 + 5,
        utterances=1,
        activity=2,
        speech_samples=9,
    )


def state(chunks: int = 0, *, kept: int = 3, begun: bool = False) -> SessionState:
    """After ``chunks`` whole chunks, the newest ``kept`` of them in its history."""
    in_history = range(max(0, chunks - kept), chunks)
    position = Position.start(SPEC, tail_samples(SPEC))
    for index in range(chunks):
        position = position.advance(SPEC, plan(index).pcm_S, SPEC.new_frames)
    return SessionState(
        epoch=0,
        position=position,
        input_samples=chunks * 17_920,
        utterances=chunks,
        motion_z=array(1, 16, 2 if chunks else 1, 12, 12, seed=chunks),
        history=tuple(
            ChunkRecord(plan(index), array(1, 16, 9, 12, 12, seed=index)) for index in in_history
        ),
        plan=plan(chunks) if begun else None,
    )


def same(first: Any, second: Any) -> bool:
    """Equal field by field, arrays bit by bit."""
    if isinstance(first, np.ndarray):
        return bool(np.array_equal(first, second)) and first.dtype == second.dtype
    if dataclasses.is_dataclass(first):
        names = [field.name for field in dataclasses.fields(first)]
        return type(first) is type(second) and all(
            same(getattr(first, name), getattr(second, name)) for name in names
        )
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)
