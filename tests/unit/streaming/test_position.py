"""A position counts what was shown, and its sound in pieces is the sound in one piece."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashtalk.errors import InputError
from flashtalk.streaming import Position, StreamSpec
from flashtalk.streaming.position import newest, tail_size

SPEC = StreamSpec()
SIZE = SPEC.window_samples + 321

counts = st.lists(st.integers(0, 28), max_size=20)


def sound(position: Position) -> np.ndarray:
    """Of the next chunk; each sample is its number in the stream, from 1."""
    first = position.next_frame * SPEC.samples_per_frame + 1
    return np.arange(first, first + SPEC.new_samples, dtype=np.float32)


def everything(frames: int) -> np.ndarray:
    """Silence, then the sound of so many frames."""
    return np.concatenate([np.zeros(SIZE), np.arange(1, frames * SPEC.samples_per_frame + 1)])


def after(frames: list[int]) -> Position:
    """A position after chunks of which so many frames were shown."""
    position = Position.start(SPEC, SIZE)
    for count in frames:
        position = position.advance(SPEC, sound(position), count)
    return position


@given(frames=counts, samples=st.integers(0, SIZE))
def test_it_holds_the_newest_sound_in_few_pieces(frames: list[int], samples: int) -> None:
    position, shown = after(frames), everything(sum(frames))
    assert (position.chunk_index, position.next_frame) == (len(frames), sum(frames))
    assert tail_size(position.tail) == SIZE
    np.testing.assert_array_equal(position.tail_S, shown[-SIZE:])
    assert len(position.tail) <= 2 * (SIZE // SPEC.new_samples + 2)
    kept = newest(position.tail, samples)
    assert tail_size(kept) == samples
    if samples:
        np.testing.assert_array_equal(np.concatenate(kept), shown[-samples:])


@given(frames=counts)
def test_the_window_ends_with_the_sound_of_the_chunk(frames: list[int]) -> None:
    position = after(frames)
    heard = everything(sum(frames) + SPEC.new_frames)
    window = np.concatenate(position.window(SPEC, sound(position)))
    np.testing.assert_array_equal(window, heard[-SPEC.window_samples :])


@given(frames=counts, back=st.integers(0, 600), chunk_index=st.integers(0, 20))
def test_a_cut_leaves_silence_before_what_remains(
    frames: list[int], back: int, chunk_index: int
) -> None:
    position, shown = after(frames), everything(sum(frames))
    frame = max(0, position.next_frame - back)
    cut = position.cut(SPEC, chunk_index, frame)
    assert (cut.chunk_index, cut.next_frame) == (chunk_index, frame)
    gone = min(SIZE, (position.next_frame - frame) * SPEC.samples_per_frame)
    remaining = np.concatenate((np.zeros(gone), shown[-SIZE : len(shown) - gone]))
    np.testing.assert_array_equal(cut.tail_S, remaining)


@given(frames=counts, shown=st.integers(0, 28), cut=st.integers(0, 28))
def test_a_chunk_that_is_cut_is_as_one_that_was_shown_so_far(
    frames: list[int], shown: int, cut: int
) -> None:
    position = after(frames)
    frame = position.next_frame + min(shown, cut)
    whole = position.advance(SPEC, sound(position), shown)
    one, other = (
        whole.cut(SPEC, whole.chunk_index, frame),
        position.advance(SPEC, sound(position), min(shown, cut)),
    )
    assert (one.chunk_index, one.next_frame) == (other.chunk_index, other.next_frame)
    seen = SIZE - SPEC.new_samples
    np.testing.assert_array_equal(one.tail_S[-seen:], other.tail_S[-seen:])


@given(frames=counts, more=st.integers(0, 28))
def test_a_position_is_a_value(frames: list[int], more: int) -> None:
    position = after(frames)
    kept_S = position.tail_S
    position.advance(SPEC, sound(position), more)
    position.cut(SPEC, 0, 0)
    window = np.concatenate(position.window(SPEC, sound(position)))
    window[:] = 5
    position.tail_S[:] = 5
    np.testing.assert_array_equal(position.tail_S, kept_S)
    assert position.tail_S.dtype == np.float32
    assert (position.chunk_index, position.next_frame) == (len(frames), sum(frames))


def test_too_little_sound_for_a_window_is_refused() -> None:
    with pytest.raises(InputError, match="samples"):
        Position.start(SPEC, SPEC.window_samples - SPEC.new_samples - 1)


@given(frames=st.lists(st.just(28), min_size=1, max_size=9))
def test_the_sound_of_a_whole_chunk_is_never_copied(frames: list[int]) -> None:
    before = after(frames)
    moved = before.advance(SPEC, np.ones(SPEC.new_samples, np.float32), 28)
    kept = [id(piece) for piece in before.tail]
    assert [id(piece) in kept for piece in moved.tail[1:-1]] == [True] * (len(moved.tail) - 2)
