"""A session after chunks and cuts: positions, sound and history always agree."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashtalk.errors import InputError
from flashtalk.streaming import Position, StreamSpec
from services.gateway.sessions.rewind import (
    HISTORY_CHUNKS,
    after_chunk,
    after_cut,
    find_cut,
    oldest_cut,
    tail_samples,
)
from services.gateway.store.records import ChunkPlan, ChunkRecord, SessionState

SPEC = StreamSpec()
SIZE = SPEC.samples_per_frame


def motion(value: float, frames: int = 2) -> np.ndarray:
    return np.full((1, 16, frames, 2, 2), value, np.float32)


def fresh() -> SessionState:
    return SessionState(0, Position.start(SPEC, tail_samples(SPEC)), 0, 0, motion(0, 1))


def sound(first_frame: int, frames: int = 28) -> np.ndarray:
    """Each sample says its own position in the stream, from 1."""
    pcm_S = np.zeros(SPEC.new_samples, np.float32)
    begin = first_frame * SIZE
    pcm_S[: frames * SIZE] = np.arange(begin + 1, begin + frames * SIZE + 1)
    return pcm_S


def chunk(state: SessionState, frames: int = 28) -> ChunkRecord:
    plan = ChunkPlan(
        index=state.position.chunk_index,
        epoch=state.epoch,
        first_frame=state.position.next_frame,
        frames=frames,
        pcm_S=sound(state.position.next_frame, frames),
        input_samples=state.input_samples + frames * SIZE,
        utterances=state.utterances,
        activity=3,
        speech_samples=frames * SIZE,
    )
    return ChunkRecord(plan, motion(plan.index, 9))


def heard(state: SessionState) -> np.ndarray:
    """The sound that the tail should hold: everything shown, zeros before it."""
    shown = np.arange(1, state.position.next_frame * SIZE + 1, dtype=np.float32)
    tail = np.concatenate((np.zeros(len(state.position.tail_S), np.float32), shown))
    return tail[-len(state.position.tail_S) :]


def advanced(chunks: list[int]) -> SessionState:
    state = fresh()
    for frames in chunks:
        record = chunk(state, frames)
        state = after_chunk(SPEC, state, record, motion(record.plan.index))
    return state


def test_a_chunk_moves_everything_by_what_was_shown() -> None:
    state = advanced([28, 28, 5])
    assert (state.position.chunk_index, state.position.next_frame) == (3, 61)
    assert state.input_samples == 61 * SIZE
    np.testing.assert_array_equal(state.position.tail_S, heard(state))


def test_the_window_ends_with_the_chunk() -> None:
    state = advanced([28] * 9)
    window_S = np.concatenate(state.position.window(SPEC, sound(state.position.next_frame)))
    end = (state.position.next_frame + 28) * SIZE
    expected = np.arange(end - SPEC.window_samples + 1, end + 1)
    np.testing.assert_array_equal(window_S, expected.astype(np.float32))


@given(
    chunks=st.lists(st.integers(1, 28), min_size=1, max_size=14),
    cut=st.integers(0, 10**6),
    decoding=st.booleans(),
)
def test_a_cut_leaves_what_was_shown_and_goes_on_from_there(
    chunks: list[int], cut: int, decoding: bool
) -> None:
    state = advanced(chunks)
    current = chunk(state) if decoding else None
    made = state.position.next_frame + (28 if decoding else 0)
    oldest = oldest_cut(state, current)
    played = oldest + cut % (made - oldest + 1)
    point = find_cut(state, current, played)
    if point is None:
        assert played == state.position.next_frame
        return
    after = after_cut(SPEC, state, point, motion(99, 1 if played == 0 else 2))
    assert after.position.next_frame == played
    # Left of the window there may be zeros in place of what an earlier cut took away.
    np.testing.assert_array_equal(
        after.position.tail_S[-SPEC.window_samples :], heard(after)[-SPEC.window_samples :]
    )
    assert after.plan is None
    assert len(after.history) <= HISTORY_CHUNKS
    if played == 0:
        assert (after.position.chunk_index, after.motion_z.shape[2], after.history) == (0, 1, ())
        return
    last = after.history[-1].plan
    assert last.first_frame + last.frames == played
    assert after.position.chunk_index == last.index + 1
    grown = after_chunk(SPEC, after, chunk(after), motion(7))
    assert grown.position.next_frame == played + 28


@pytest.mark.parametrize("played", [0, 27, 29 + 28 * 5, 10**9])
def test_a_cut_beyond_what_is_kept_is_refused(played: int) -> None:
    state = advanced([28] * 6)
    assert oldest_cut(state, None) == 57
    if played == 29 + 28 * 5:
        assert find_cut(state, None, 28 * 6) is None
        return
    with pytest.raises(InputError, match="played_frames"):
        find_cut(state, None, played)


def test_a_second_cut_is_cut_out_of_the_first() -> None:
    state = advanced([28, 28, 28])
    point = find_cut(state, None, 70)
    assert point is not None
    state = after_cut(SPEC, state, point, motion(1))
    with pytest.raises(InputError):
        find_cut(state, None, 71)
    again = find_cut(state, None, 60)
    assert again is not None
    assert again.record is not None
    assert (again.record.plan.index, again.frames) == (2, 4)
    assert dataclasses.replace(state).position.next_frame == 70
