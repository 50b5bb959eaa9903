"""Rows and columns of a picture that each rank computes, in latent cells of 8x8 pixels."""

from __future__ import annotations

from dataclasses import dataclass

from flashtalk.errors import InputError


@dataclass(frozen=True)
class Grid:
    """A grid of ranks: rank ``p`` is at row ``p // columns`` and column ``p % columns``.

    Raises:
        InputError: a side below 1.
    """

    rows: int = 1
    columns: int = 1

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            if getattr(self, name) < 1:
                raise InputError(f"grid {name}", getattr(self, name), "at least 1")

    @property
    def ranks(self) -> int:
        """Number of ranks."""
        return self.rows * self.columns

    def place(self, rank: int) -> tuple[int, int]:
        """Returns row and column of a rank."""
        return divmod(rank, self.columns)

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"


def check_grid(grid: Grid, cells_hw: tuple[int, int]) -> None:
    """Checks that a picture can be sliced with this grid; sizes need not be divisible.

    Raises InputError with one sentence about the mismatch.
    """
    for name, parts, cells in zip(
        ("rows", "columns"), (grid.rows, grid.columns), cells_hw, strict=True
    ):
        if parts > cells:
            limit = f"at most {cells}, one for each latent cell of 8 pixels"
            raise InputError(f"grid {name}", parts, limit)


def choose_grid(ranks: int, cells_hw: tuple[int, int]) -> Grid:
    """Returns the grid with the smallest maximum slice, and among those the shortest borders.

    Raises:
        InputError: no grid with this number of ranks fits the picture.
    """
    height, width = cells_hw
    grids = [Grid(rows, ranks // rows) for rows in range(1, ranks + 1) if ranks % rows == 0]
    fitting = [grid for grid in grids if grid.rows <= height and grid.columns <= width]
    if not fitting:
        limit = f"a number of slices that fits {height}x{width} latent cells"
        raise InputError("ranks", ranks, limit)

    def cost(grid: Grid) -> tuple[int, int]:
        largest = -(-height // grid.rows) * -(-width // grid.columns)
        return largest, (grid.rows - 1) * width + (grid.columns - 1) * height

    return min(fitting, key=cost)


def window(span: tuple[int, int], total: int, pad: int) -> tuple[int, int]:
    """Widens a span like the published code: both inner sides by ``pad``, or a single inner side
    by twice that; a span of the whole picture is unchanged."""
    begin, end = span
    if (begin, end) == (0, total):
        return span
    if begin == 0:
        return 0, min(total, end + 2 * pad)
    if end == total:
        return max(0, begin - 2 * pad), total
    return max(0, begin - pad), min(total, end + pad)
