"""Rotary position embedding over time, height and width.

In eager mode complex numbers need the fewest operations, one per pair of channels; a compiler fuses
the real form. Both give the same bits.

Legend: B batch, N tokens (frame-major, then rows, then columns), H heads, D head width,
P = D / 2 rotated pairs, F latent frames, R token rows, C token columns.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from flashtalk.ops.eager import is_plain
from flashtalk.ops.token_slice import TokenSlice

THETA = 10_000.0
_KEPT_TABLES = 16
_COMPLEX_DEVICES = ("cpu", "cuda")


class RopeTable(NamedTuple):
    """Cosine and sine of every token's angles, float32 [N, P, 2]."""

    turn_NP2: Tensor

    @property
    def cos_NP(self) -> Tensor:
        """[N, P], a view."""
        return self.turn_NP2[..., 0]

    @property
    def sin_NP(self) -> Tensor:
        """[N, P], a view."""
        return self.turn_NP2[..., 1]

    def rows(self, tokens: TokenSlice) -> RopeTable:
        """Returns the angles of a slice of the tokens."""
        return RopeTable(self.turn_NP2[tokens.start : tokens.stop])


def axis_widths(head_dim: int) -> tuple[int, int, int]:
    """Returns how many of the ``head_dim`` channels encode time, height and width (Wan2.1).

    Height and width get ``2 * (head_dim // 6)`` each, time the rest.
    """
    side = 2 * (head_dim // 6)
    return head_dim - 2 * side, side, side


def kept_rope_table(grid_FRC: tuple[int, int, int], head_dim: int, x: Tensor) -> RopeTable:
    """``rope_table`` on the device of ``x``, with a cache of recent tables."""
    if torch.compiler.is_compiling() or not is_plain(x):
        return rope_table(grid_FRC, head_dim, x.device)
    return _kept_table(grid_FRC, head_dim, x.device)


def rope_table(grid_FRC: tuple[int, int, int], head_dim: int, device: torch.device) -> RopeTable:
    """Angles of a [F, R, C] grid of tokens.

    They are computed in float64 and rounded once, which keeps the accuracy of the published
    complex128 table. Computed on the device from three short axes, without a copy from the host.

    Args:
        grid_FRC: tokens along time, height and width.
        head_dim: channels per head, even.
        device: device of the table.

    Returns:
        RopeTable of N = F * R * C rows and ``head_dim / 2`` columns.
    """
    angle_NP = _angles(grid_FRC, head_dim, device)
    return RopeTable(torch.stack((angle_NP.cos(), angle_NP.sin()), dim=-1).float())


@functools.lru_cache(_KEPT_TABLES)
def _kept_table(grid_FRC: tuple[int, int, int], head_dim: int, device: torch.device) -> RopeTable:
    with torch.inference_mode(False):  # training may use a table that inference cached
        return rope_table(grid_FRC, head_dim, device)


def _angles(grid_FRC: tuple[int, int, int], head_dim: int, device: torch.device) -> Tensor:
    """float64 [N, P]."""
    angles: list[Tensor] = []
    for axis, (count, width) in enumerate(zip(grid_FRC, axis_widths(head_dim), strict=True)):
        exponent = torch.arange(0, width, 2, dtype=torch.float64, device=device) / width
        position = torch.arange(count, dtype=torch.float64, device=device)
        angle = torch.outer(position, THETA**-exponent)
        shape = [1, 1, 1, angle.shape[1]]
        shape[axis] = count
        angles.append(angle.view(shape).expand(*grid_FRC, -1))
    return torch.cat(angles, dim=-1).flatten(0, 2)


def apply_rope(x_BNHD: Tensor, table: RopeTable) -> Tensor:
    """Rotate adjacent channel pairs of every head by the token's angles.

    Args:
        x_BNHD: [B, N, H, D], any floating dtype.
        table: angles of the same N tokens.

    Returns:
        [B, N, H, D] in the dtype of ``x_BNHD``, rotated in float32.
    """
    if x_BNHD.device.type in _COMPLEX_DEVICES and not torch.compiler.is_compiling():
        pairs = torch.view_as_complex(torch.unflatten(x_BNHD.float().contiguous(), -1, (-1, 2)))
        turned = torch.view_as_real(pairs * torch.view_as_complex(table.turn_NP2).unsqueeze(1))
        return turned.flatten(-2).to(x_BNHD.dtype)
    even, odd = torch.unflatten(x_BNHD.float(), -1, (-1, 2)).unbind(-1)
    cos, sin = table.cos_NP.unsqueeze(1), table.sin_NP.unsqueeze(1)
    rotated = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return rotated.flatten(-2).to(x_BNHD.dtype)
