"""The audio ring: always the newest samples in order, zeros before the stream began."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashtalk.errors import InputError
from flashtalk.streaming import AudioRing

SIZE = 16


@given(sizes=st.lists(st.integers(0, 40), max_size=12))
def test_the_window_is_the_end_of_all_that_was_pushed(sizes: list[int]) -> None:
    ring, everything = AudioRing(SIZE), np.zeros(SIZE, np.float32)
    for size in sizes:
        start = len(everything)
        packet = np.arange(start, start + size, dtype=np.float32)
        ring.push(packet)
        everything = np.concatenate((everything, packet))
        assert np.array_equal(ring.window(), everything[-SIZE:])
    assert ring.window().dtype == np.float32


@given(before=st.integers(0, 40), after=st.integers(1, 40))
def test_a_copy_is_independent(before: int, after: int) -> None:
    ring = AudioRing(SIZE)
    ring.push(np.ones(before, np.float32))
    kept = ring.window()
    other = ring.copy()
    assert np.array_equal(other.window(), kept)
    other.push(np.full(after, 2, np.float32))
    assert np.array_equal(ring.window(), kept)
    window = ring.window()
    window[:] = 5
    assert np.array_equal(ring.window(), kept)


def test_bad_samples_and_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        AudioRing(SIZE).push(np.array([np.nan], np.float32))
    with pytest.raises(InputError, match="positive"):
        AudioRing(0)
