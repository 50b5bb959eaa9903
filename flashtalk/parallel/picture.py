"""The VAE on ranks with a slice of every picture (report section 3.3, sliced VAE).

Exact: every convolution gets a halo of rows and columns from the neighbours, and the middle
attention gets the keys and values of the whole frame, so the slices equal the unsliced result.
``Overlap`` is the method of the published code: wider windows, no communication, visible seams.

Legend: ... any axes, H W of this rank's slice, F frames, N positions, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor

from flashtalk.errors import InputError
from flashtalk.models.vae.layers import Margins
from flashtalk.parallel.grid import Grid, check_grid, window
from flashtalk.parallel.layout import spans
from flashtalk.parallel.mesh import DEADLINE, RankGroup, join_everyone

HALO, FRAME, JOIN = "halo", "frame", "join"
DECODE_PAD_CELLS, ENCODE_PAD_CELLS = 2, 1
Span = tuple[int, int]


@dataclass(frozen=True)
class PictureMesh:
    """The ranks of one VAE.

    Args:
        grid: arrangement of the ranks.
        everyone: the group of all ranks.
    """

    grid: Grid
    everyone: RankGroup

    @property
    def place(self) -> tuple[int, int]:
        """Row and column of this rank."""
        return self.grid.place(self.everyone.index)

    def spans(self, cells_hw: tuple[int, int]) -> list[tuple[Span, Span]]:
        """Returns rows and columns of every rank. Raises InputError if the grid does not fit."""
        check_grid(self.grid, cells_hw)
        rows, columns = spans(cells_hw[0], self.grid.rows), spans(cells_hw[1], self.grid.columns)
        places = map(self.grid.place, range(self.grid.ranks))
        return [(rows[row], columns[column]) for row, column in places]


def join_grid(grid: Grid, deadline: timedelta = DEADLINE) -> PictureMesh:
    """Creates the mesh of this process's VAE; all ranks call it with the same grid.

    Raises:
        InputError: the grid does not match the number of ranks.
    """
    everyone = join_everyone(deadline)
    if grid.ranks != everyone.size:
        limit = f"{everyone.size}, the ranks that were started"
        raise InputError("grid rows x columns", grid.ranks, limit)
    return PictureMesh(grid, everyone)


@dataclass(frozen=True)
class Slices:
    """A ``PictureShare``: every rank computes its slice and gets the whole picture."""

    mesh: PictureMesh

    def mine(self, x: Tensor, cell_px: int) -> Tensor:
        """Returns this rank's part of [..., H, W]."""
        cells_hw = x.shape[-2] // cell_px, x.shape[-1] // cell_px
        return _cut(x, self.mesh.spans(cells_hw)[self.mesh.everyone.index], cell_px)

    def join(self, x: Tensor, cells_hw: tuple[int, int], cell_px: int) -> Tensor:
        """Gathers the parts of all ranks: [..., H, W] on each."""
        return _join(x, self.mesh, cells_hw, cell_px)


@dataclass(frozen=True)
class Overlap:
    """A ``PictureShare`` with the published windows: results near the seams are not exact."""

    mesh: PictureMesh

    def mine(self, x: Tensor, cell_px: int) -> Tensor:
        """Returns this rank's part of [..., H, W] with the rows and columns around it."""
        cells_hw = x.shape[-2] // cell_px, x.shape[-1] // cell_px
        pad = DECODE_PAD_CELLS if cell_px == 1 else ENCODE_PAD_CELLS
        return _cut(x, self._windows(cells_hw, pad), cell_px)

    def join(self, x: Tensor, cells_hw: tuple[int, int], cell_px: int) -> Tensor:
        """Gathers the parts of all ranks without the overlap: [..., H, W] on each."""
        # Pixels are the result of decoding, latents of encoding.
        pad = ENCODE_PAD_CELLS if cell_px == 1 else DECODE_PAD_CELLS
        windows = self._windows(cells_hw, pad)
        own = self.mesh.spans(cells_hw)[self.mesh.everyone.index]
        (top, bottom), (left, right) = (
            (span[0] - around[0], span[1] - around[0])
            for span, around in zip(own, windows, strict=True)
        )
        return _join(_cut(x, ((top, bottom), (left, right)), cell_px), self.mesh, cells_hw, cell_px)

    def _windows(self, cells_hw: tuple[int, int], pad: int) -> tuple[Span, Span]:
        rows, columns = self.mesh.spans(cells_hw)[self.mesh.everyone.index]
        return window(rows, cells_hw[0], pad), window(columns, cells_hw[1], pad)


@dataclass(frozen=True)
class NeighbourMargins:
    """Fills the ``margins`` seam: a halo exchange with the neighbouring ranks."""

    mesh: PictureMesh

    def __call__(self, x: Tensor, margins: Margins) -> Tensor:
        """[..., H, W] to [..., top + H + bottom, left + W + right]; zeros beyond the picture."""
        left, right, top, bottom = margins
        grid, rank = self.mesh.grid, self.mesh.everyone.index
        row, column = self.mesh.place
        west = rank - 1 if column else None
        east = rank + 1 if column < grid.columns - 1 else None
        north = rank - grid.columns if row else None
        south = rank + grid.columns if row < grid.rows - 1 else None
        # Columns first: the widened rows then include the corners.
        return self._widen(
            self._widen(x, -1, left, right, west, east), -2, top, bottom, north, south
        )

    def _widen(
        self,
        x: Tensor,
        dim: int,
        before: int,
        after: int,
        previous: int | None,
        following: int | None,
    ) -> Tensor:
        head, tail = _room(x, dim, before), _room(x, dim, after)
        sends, wants = [], []
        # The previous rank needs as many lines beyond its end as this one.
        if previous is not None:
            sends.append((previous, _rows_of(x.narrow(dim, 0, after))))
            wants.append((previous, head))
        if following is not None:
            sends.append((following, _rows_of(x.narrow(dim, x.shape[dim] - before, before))))
            wants.append((following, tail))
        self.mesh.everyone.exchange(sends, wants, HALO)
        return torch.cat((head.movedim(-1, 1), x, tail.movedim(-1, 1)), dim=dim)


@dataclass(frozen=True)
class FrameTokens:
    """Fills the ``whole_frame`` seam: keys or values of all slices, in any order."""

    mesh: PictureMesh

    def __call__(self, x_F1NC: Tensor) -> Tensor:
        """[F, 1, N, C] of this slice to [F, 1, all N, C]."""
        # Slices differ in size; each rank sends its number of positions.
        counts = self.mesh.everyone.all_gather(
            torch.tensor([x_F1NC.shape[2]], device=x_F1NC.device),
            [(1,)] * self.mesh.grid.ranks,
            FRAME,
        )
        frames, _, _, channels = x_F1NC.shape
        shapes = [(frames, 1, count, channels) for count in torch.cat(counts).tolist()]
        return torch.cat(self.mesh.everyone.all_gather(x_F1NC, shapes, FRAME), dim=2)


def _rows_of(x: Tensor) -> Tensor:
    """Returns [B, C, ..., H, W] as [B, ..., H, W, C], which is the memory order."""
    return x.movedim(1, -1).contiguous()


def _room(x: Tensor, dim: int, count: int) -> Tensor:
    """Returns zeros for ``count`` lines along ``dim``, in the order of ``_rows_of``."""
    shape = list(x.shape)
    shape[dim] = count
    return x.new_zeros([shape[0], *shape[2:], shape[1]])


def _cut(x: Tensor, part: tuple[Span, Span], cell_px: int) -> Tensor:
    (top, bottom), (left, right) = part
    return x[..., top * cell_px : bottom * cell_px, left * cell_px : right * cell_px]


def _join(x: Tensor, mesh: PictureMesh, cells_hw: tuple[int, int], cell_px: int) -> Tensor:
    parts = mesh.spans(cells_hw)
    shapes = [
        (*x.shape[:-2], (rows[1] - rows[0]) * cell_px, (columns[1] - columns[0]) * cell_px)
        for rows, columns in parts
    ]
    received = mesh.everyone.all_gather(x, shapes, JOIN)
    return torch.cat([torch.cat(row, dim=-1) for row in _rows(received, mesh.grid)], dim=-2)


def _rows(parts: Sequence[Tensor], grid: Grid) -> list[list[Tensor]]:
    return [list(parts[i * grid.columns : (i + 1) * grid.columns]) for i in range(grid.rows)]
