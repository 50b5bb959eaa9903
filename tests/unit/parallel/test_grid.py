"""Which rows and columns are whose."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flashtalk.errors import InputError
from flashtalk.parallel import Grid, check_grid, choose_grid
from flashtalk.parallel.grid import window
from flashtalk.parallel.layout import spans


@given(total=st.integers(1, 200), parts=st.integers(1, 16))
def test_spans_are_the_side_in_order(total: int, parts: int) -> None:
    assume(parts <= total)
    found = spans(total, parts)
    assert [a for a, _ in found] == [0, *(b for _, b in found[:-1])]
    assert found[-1][1] == total
    sizes = [b - a for a, b in found]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1


@given(ranks=st.integers(1, 16), height=st.integers(4, 96), width=st.integers(4, 96))
def test_the_chosen_grid_fits_and_has_the_smallest_slices(
    ranks: int, height: int, width: int
) -> None:
    def largest(grid: Grid) -> int:
        return -(-height // grid.rows) * -(-width // grid.columns)

    grids = [Grid(n, ranks // n) for n in range(1, ranks + 1) if ranks % n == 0]
    fitting = [g for g in grids if g.rows <= height and g.columns <= width]
    if not fitting:
        with pytest.raises(InputError, match="a number of slices that fits"):
            choose_grid(ranks, (height, width))
        return
    chosen = choose_grid(ranks, (height, width))
    check_grid(chosen, (height, width))
    assert largest(chosen) == min(map(largest, fitting))


@pytest.mark.parametrize(
    ("ranks", "cells", "grid"),
    [
        (8, (52, 90), Grid(4, 2)),
        (8, (56, 96), Grid(2, 4)),
        (4, (56, 96), Grid(2, 2)),
        (2, (96, 56), Grid(2, 1)),
        (3, (60, 104), Grid(3, 1)),
        (1, (12, 12), Grid(1, 1)),
    ],
)
def test_known_grids(ranks: int, cells: tuple[int, int], grid: Grid) -> None:
    assert choose_grid(ranks, cells) == grid


@pytest.mark.parametrize(
    ("span", "total", "wide"),
    [
        ((0, 8), 16, (0, 12)),
        ((8, 16), 16, (4, 16)),
        ((6, 12), 24, (4, 14)),
        ((0, 6), 6, (0, 6)),
        ((0, 6), 8, (0, 8)),
    ],
)
def test_published_windows(span: tuple[int, int], total: int, wide: tuple[int, int]) -> None:
    assert window(span, total, pad=2) == wide


@pytest.mark.parametrize("field", ["rows", "columns"])
def test_sides_are_positive(field: str) -> None:
    with pytest.raises(InputError, match=f"grid {field}: 0"):
        Grid(**{field: 0})
