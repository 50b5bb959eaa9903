"""Feature windows: the published rule, from its recorded tables, and its properties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from flashtalk.errors import InputError
from flashtalk.streaming import StreamSpec, chunk_window_indices, window_indices


@pytest.mark.parametrize(("start", "end", "total"), [(0, 40, 40), (167, 200, 200)])
def test_windows_are_those_of_the_published_code(
    goldens: Path, start: int, end: int, total: int
) -> None:
    expected = load_file(goldens / "audio.safetensors")[f"aux.window_index_{start}_{end}"]
    assert np.array_equal(window_indices(start, end, total, 5), expected)


def test_a_chunk_is_the_end_of_its_eight_seconds(goldens: Path) -> None:
    expected = load_file(goldens / "audio.safetensors")["aux.window_index_167_200"]
    assert np.array_equal(chunk_window_indices(StreamSpec()), expected)


@given(start=st.integers(0, 50), frames=st.integers(1, 50), width=st.sampled_from([1, 3, 5, 7]))
def test_windows_are_centred_and_never_look_past_the_end(
    start: int, frames: int, width: int
) -> None:
    end = start + frames
    rows = window_indices(start, end, end + 10, width)
    assert rows.shape == (frames, width)
    assert np.array_equal(rows[:, width // 2], np.arange(start, end))
    assert rows.min() >= 0
    assert rows.max() < end
    assert (np.diff(rows, axis=1) >= 0).all()


@pytest.mark.parametrize(
    ("start", "end", "total", "width"), [(3, 3, 9, 5), (-1, 3, 9, 5), (0, 10, 9, 5), (0, 9, 9, 4)]
)
def test_impossible_ranges_are_refused(start: int, end: int, total: int, width: int) -> None:
    with pytest.raises(InputError):
        window_indices(start, end, total, width)
