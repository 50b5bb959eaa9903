"""The state of a session after a chunk, and after a cut at the last frame that was shown.

The next chunk continues from the frames that were shown, so a cut needs new motion latents. The VAE
computes them from the chunk's latents, so a session stores the latents of its newest chunks.

Legend: S samples.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from flashtalk.arrays import FloatArray
from flashtalk.errors import InputError
from flashtalk.streaming import Position, StreamSpec
from flashtalk.streaming.position import tail_size
from services.gateway.store.records import ChunkRecord, SessionState

HISTORY_CHUNKS = 4
"""Number of chunks that can be sent again and in which a session can be cut."""


@dataclass(frozen=True, eq=False)
class CutPoint:
    """The position of a cut.

    Args:
        record: the chunk of the last frame shown; None before the first frame.
        frames: number of its frames that were shown, 1 to 28.
    """

    record: ChunkRecord | None
    frames: int


def tail_samples(spec: StreamSpec) -> int:
    """Samples of sound to keep: the window of the speech encoder, and the longest cut."""
    return spec.window_samples + HISTORY_CHUNKS * spec.new_samples


def after_chunk(
    spec: StreamSpec, state: SessionState, record: ChunkRecord, motion_z: FloatArray
) -> SessionState:
    """Returns the state after a chunk.

    Args:
        spec: spec of the stream.
        state: before the chunk.
        record: the chunk.
        motion_z: [1, C, 2, h, w] latents of its last frames.
    """
    plan = record.plan
    return dataclasses.replace(
        state,
        position=state.position.advance(spec, plan.pcm_S, plan.frames),
        input_samples=plan.input_samples,
        utterances=plan.utterances,
        motion_z=motion_z,
        history=(*state.history, record)[-HISTORY_CHUNKS:],
        plan=None,
    )


def oldest_cut(state: SessionState, current: ChunkRecord | None) -> int:
    """Returns the smallest number of frames at which a session can be cut."""
    chunks = state.history if current is None else (*state.history, current)
    if not chunks:
        return state.position.next_frame
    first = chunks[0].plan.first_frame
    return first + 1 if first else 0


def find_cut(state: SessionState, current: ChunkRecord | None, played: int) -> CutPoint | None:
    """Returns the cut after which ``played`` frames remain.

    Args:
        state: state of the session with all chunks but ``current``.
        current: the chunk that is being decoded, if any.
        played: number of frames that were shown.

    Returns:
        None without a cut: exactly the committed frames were shown.

    Raises:
        InputError: more frames than exist, or fewer than the history covers.
    """
    chunks = state.history if current is None else (*state.history, current)
    newest = chunks[-1].plan if chunks else None
    made = newest.first_frame + newest.frames if newest else state.position.next_frame
    if played == state.position.next_frame:
        return None
    if not oldest_cut(state, current) <= played <= made:
        limit = f"must be {oldest_cut(state, current)} .. {made}, the frames in the history"
        raise InputError("played_frames", played, limit)
    if played == 0:
        return CutPoint(None, 0)
    for record in reversed(chunks):
        first = record.plan.first_frame
        if first < played <= first + record.plan.frames:
            return CutPoint(record, played - first)
    raise AssertionError("chunks follow each other without a gap")


def after_cut(
    spec: StreamSpec, state: SessionState, point: CutPoint, motion_z: FloatArray
) -> SessionState:
    """Returns the state after a cut.

    Args:
        spec: spec of the stream.
        state: state of the session.
        point: from ``find_cut``.
        motion_z: latents of the last frames that remain, or of the portrait without frames.
    """
    if point.record is None:
        return dataclasses.replace(
            state,
            position=Position.start(spec, tail_size(state.position.tail)),
            motion_z=motion_z,
            history=(),
            plan=None,
            loop=(),
        )
    plan = point.record.plan
    shown = dataclasses.replace(plan, frames=point.frames)
    before = tuple(r for r in state.history if r.plan.first_frame < plan.first_frame)
    played = plan.first_frame + point.frames
    position = state.position
    if played > position.next_frame:
        # A cut in the chunk that was being decoded shortens it.
        position = position.advance(spec, plan.pcm_S, point.frames)
    else:
        position = position.cut(spec, plan.index + 1, played)
    return dataclasses.replace(
        state,
        position=position,
        motion_z=motion_z,
        history=(*before, ChunkRecord(shown, point.record.latents))[-HISTORY_CHUNKS:],
        plan=None,
        loop=(),  # it goes on from the end of a chunk only
    )
