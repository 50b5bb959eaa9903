"""Rotary position embedding over time, height and width, in real arithmetic.

Legend: B batch, N tokens (frame-major, then rows, then columns), H heads, D head width,
P = D / 2 rotated pairs, F latent frames, R token rows, C token columns.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from flashtalk.ops.token_slice import TokenSlice

THETA = 10_000.0


class RopeTable(NamedTuple):
    """Cosine and sine of every token's angles, each [N, P] float32."""

    cos_NP: Tensor
    sin_NP: Tensor

    def rows(self, tokens: TokenSlice) -> RopeTable:
        """The angles of some of the tokens."""
        return RopeTable(
            self.cos_NP[tokens.start : tokens.stop], self.sin_NP[tokens.start : tokens.stop]
        )


def axis_widths(head_dim: int) -> tuple[int, int, int]:
    """How many of the ``head_dim`` channels encode time, height and width (Wan2.1).

    Height and width get ``2 * (head_dim // 6)`` each, time the rest.
    """
    side = 2 * (head_dim // 6)
    return head_dim - 2 * side, side, side


def rope_table(grid_FRC: tuple[int, int, int], head_dim: int, device: torch.device) -> RopeTable:
    """Angles of a [F, R, C] grid of tokens.

    They are computed in float64 and rounded once, which is where the accuracy of the published
    complex128 table survives. Made on the device from three short axes: no copy from the host.

    Args:
        grid_FRC: tokens along time, height and width.
        head_dim: channels per head, even.
        device: where the table is wanted.

    Returns:
        RopeTable of N = F * R * C rows and ``head_dim / 2`` columns.
    """
    angles: list[Tensor] = []
    for axis, (count, width) in enumerate(zip(grid_FRC, axis_widths(head_dim), strict=True)):
        exponent = torch.arange(0, width, 2, dtype=torch.float64, device=device) / width
        position = torch.arange(count, dtype=torch.float64, device=device)
        angle = torch.outer(position, THETA**-exponent)
        shape = [1, 1, 1, angle.shape[1]]
        shape[axis] = count
        angles.append(angle.view(shape).expand(*grid_FRC, -1))
    angle_NP = torch.cat(angles, dim=-1).flatten(0, 2)
    return RopeTable(angle_NP.cos().float(), angle_NP.sin().float())


def apply_rope(x_BNHD: Tensor, table: RopeTable) -> Tensor:
    """Rotate adjacent channel pairs of every head by the token's angles.

    Args:
        x_BNHD: [B, N, H, D], any floating dtype.
        table: angles of the same N tokens.

    Returns:
        [B, N, H, D] in the dtype of ``x_BNHD``, rotated in float32.
    """
    even, odd = torch.unflatten(x_BNHD.float(), -1, (-1, 2)).unbind(-1)
    cos, sin = table.cos_NP.unsqueeze(1), table.sin_NP.unsqueeze(1)
    rotated = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return rotated.flatten(-2).to(x_BNHD.dtype)
