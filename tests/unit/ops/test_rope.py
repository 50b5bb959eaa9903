"""Rotary embedding: the complex form it replaces, and what rotations must keep."""

import pytest
import torch
from torch import Tensor

from flashtalk.ops.rope import THETA, RopeTable, apply_rope, axis_widths, rope_table

CPU = torch.device("cpu")
GRID = (3, 4, 5)


def complex_form(x_BNHD: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Multiply adjacent pairs, read as complex128 numbers, by exp(i * position * frequency)."""
    rows = torch.cartesian_prod(*(torch.arange(n) for n in grid)).double()
    angles = []
    for axis, width in enumerate(axis_widths(x_BNHD.shape[-1])):
        frequency = THETA ** -(torch.arange(0, width, 2).double() / width)
        angles.append(rows[:, axis, None] * frequency)
    turn = torch.polar(torch.ones(()).double(), torch.cat(angles, dim=1))[:, None]
    pairs = torch.view_as_complex(x_BNHD.double().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turn).flatten(-2)


@pytest.mark.parametrize("head_dim", [32, 64, 128])
def test_equals_the_complex_form(head_dim: int) -> None:
    x = torch.randn(2, 60, 3, head_dim)
    out = apply_rope(x, rope_table(GRID, head_dim, CPU))
    torch.testing.assert_close(out.double(), complex_form(x, GRID), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("head_dim", "widths"), [(128, (44, 42, 42)), (32, (12, 10, 10))])
def test_axis_widths(head_dim: int, widths: tuple[int, int, int]) -> None:
    assert axis_widths(head_dim) == widths
    assert sum(widths) == head_dim


def test_keeps_lengths_dtype_and_the_first_token() -> None:
    x = torch.randn(1, 60, 2, 32)
    out = apply_rope(x, rope_table(GRID, 32, CPU))
    torch.testing.assert_close(out.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(out[:, 0], x[:, 0])  # times one, plus zero
    assert apply_rope(x.bfloat16(), rope_table(GRID, 32, CPU)).dtype == torch.bfloat16


def test_products_depend_on_the_distance_only() -> None:
    table = rope_table((40, 1, 1), 32, CPU)
    q, k = torch.randn(2, 1, 1, 1, 32)

    def product(i: int, j: int) -> Tensor:
        def turned(x: Tensor, at: int) -> Tensor:
            row = slice(at, at + 1)
            return apply_rope(x, RopeTable(table.turn_NP2[row]))

        return (turned(q, i) * turned(k, j)).sum()

    for shift in (1, 17, 30):
        torch.testing.assert_close(product(shift, shift + 5), product(0, 5), atol=1e-4, rtol=1e-4)
    assert not torch.isclose(product(0, 5), product(0, 6))
