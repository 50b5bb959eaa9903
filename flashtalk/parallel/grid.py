"""Which rows and columns of a picture every rank computes, in latent cells of 8x8 pixels."""

from __future__ import annotations

from dataclasses import dataclass

from flashtalk.errors import InputError


@dataclass(frozen=True)
class Grid:
    """Ranks side by side: rank ``p`` is at row ``p // columns`` and column ``p % columns``.

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
        """How many ranks it takes."""
        return self.rows * self.columns

    def place(self, rank: int) -> tuple[int, int]:
        """Row and column of a rank."""
        return divmod(rank, self.columns)

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"


def check_grid(grid: Grid, cells_hw: tuple[int, int]) -> None:
    """Whether a picture can be sliced so. Sizes need not divide.

    Raises InputError that says in one sentence what does not fit.
    """
    for name, parts, cells in zip(
        ("rows", "columns"), (grid.rows, grid.columns), cells_hw, strict=True
    ):
        if parts > cells:
            limit = f"at most {cells}, one for each latent cell of 8 pixels"
            raise InputError(f"grid {name}", parts, limit)


def choose_grid(ranks: int, cells_hw: tuple[int, int]) -> Grid:
    """The grid whose largest slice is smallest, and of those the one with the shortest cuts.

    Raises:
        InputError: no grid of so many ranks fits the picture.
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
    """A span widened as the published code does it: both inner sides by ``pad``, or the only inner
    side by twice that; the whole stays the whole."""
    begin, end = span
    if (begin, end) == (0, total):
        return span
    if begin == 0:
        return 0, min(total, end + 2 * pad)
    if end == total:
        return max(0, begin - 2 * pad), total
    return max(0, begin - pad), min(total, end + pad)
