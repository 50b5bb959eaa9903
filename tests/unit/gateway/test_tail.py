"""A tail in pieces is the tail in one piece, whatever it is made of."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flashtalk.streaming import StreamSpec
from services.gateway.store.tail import gone_back, gone_on, newest, silence, tail_size

SPEC = StreamSpec()
SIZE = 5 * SPEC.new_samples + 321


def grown(frames: list[int]) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """A tail after chunks of so many frames, and all sound there was; each sample is its number."""
    tail: tuple[np.ndarray, ...] = silence(SPEC, SIZE)
    end = 0
    for count in frames:
        sound = np.arange(end + 1, end + 1 + count * SPEC.samples_per_frame, dtype=np.float32)
        tail = gone_on(SPEC, tail, sound)
        end += len(sound)
    return tail, np.concatenate([np.zeros(SIZE), np.arange(1, end + 1)])


chunks = st.lists(st.integers(0, 28), max_size=20)


@given(frames=chunks, samples=st.integers(0, SIZE))
def test_it_holds_the_newest_sound_in_few_pieces(frames: list[int], samples: int) -> None:
    tail, sound = grown(frames)
    assert tail_size(tail) == SIZE
    np.testing.assert_array_equal(np.concatenate(tail), sound[-SIZE:])
    assert len(tail) <= 2 * (SIZE // SPEC.new_samples + 2)
    kept = newest(tail, samples)
    assert tail_size(kept) == samples
    if samples:
        np.testing.assert_array_equal(np.concatenate(kept), sound[-samples:])


@given(frames=chunks, samples=st.integers(0, SIZE))
def test_going_back_leaves_silence_before_what_remains(frames: list[int], samples: int) -> None:
    tail, sound = grown(frames)
    remaining = np.concatenate((np.zeros(samples), sound[-SIZE : len(sound) - samples]))
    np.testing.assert_array_equal(np.concatenate(gone_back(SPEC, tail, samples)), remaining)


@given(frames=st.lists(st.just(28), min_size=1, max_size=9))
def test_the_sound_of_a_whole_chunk_is_never_copied(frames: list[int]) -> None:
    tail, _ = grown(frames)
    before = tail
    after = gone_on(SPEC, tail, np.ones(SPEC.new_samples, np.float32))
    kept = [id(piece) for piece in before]
    assert [id(piece) in kept for piece in after[1:-1]] == [True] * (len(after) - 2)
