"""Attention in parts, put together again."""

import pytest
import torch

from flashtalk.ops.attention import attention, frame_attention
from flashtalk.ops.partial_attention import merge, partial_attention
from flashtalk.ops.token_slice import TokenSlice
from tests.tolerances import FLOAT32_EPS


@pytest.mark.parametrize("cuts", [(5,), (1, 2, 9), (3, 3, 3, 2)])
def test_parts_of_the_keys_add_up(cuts: tuple[int, ...]) -> None:
    q = torch.randn(2, 7, 3, 16) * 4
    k, v = torch.randn(2, 2, sum(cuts), 3, 16) * 4
    parts = [
        partial_attention(q, a, b) for a, b in zip(k.split(cuts, 1), v.split(cuts, 1), strict=True)
    ]
    total = parts[0]
    for part in parts[1:]:
        total = merge(total, part)
    scores = torch.einsum("bnhd,bmhd->bnhm", q, k) / 16**0.5
    # A sum of 16 products in another order moves a score by sqrt(16) eps of it, and weights by as
    # much of themselves.
    moved = 4 * FLOAT32_EPS * float(scores.abs().max())
    exact, largest = attention(q, k, v), float(v.abs().max())
    torch.testing.assert_close(total.out_BNHD, exact, atol=moved * largest, rtol=0)
    torch.testing.assert_close(total.lse_BNH, scores.logsumexp(-1), atol=moved, rtol=0)


def test_the_order_of_parts_does_not_matter() -> None:
    q, k, v = torch.randn(3, 1, 6, 2, 8)
    a, b = (partial_attention(q, k[:, i], v[:, i]) for i in (slice(0, 2), slice(2, 6)))
    for one, other in zip(merge(a, b), merge(b, a), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_a_part_that_hardly_matters_changes_hardly_anything() -> None:
    """Scores far apart: their exponentials alone would overflow."""
    q = torch.full((1, 1, 1, 4), 100.0)
    k = torch.cat((torch.full((1, 1, 1, 4), 10.0), torch.full((1, 1, 1, 4), -10.0)), dim=1)
    v = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 1, 4)
    parts = [partial_attention(q, k[:, i : i + 1], v[:, i : i + 1]) for i in range(2)]
    torch.testing.assert_close(merge(*parts).out_BNHD, torch.ones(1, 1, 1, 4))


def test_a_frame_hears_its_own_keys() -> None:
    q = torch.randn(2, 3 * 4, 2, 8)
    k, v = torch.randn(2, 2, 3, 5, 2, 8)
    out = frame_attention(q, k, v, TokenSlice.whole(12))
    for frame in range(3):
        own = attention(q[:, 4 * frame : 4 * frame + 4], k[:, frame], v[:, frame])
        torch.testing.assert_close(out[:, 4 * frame : 4 * frame + 4], own, atol=1e-6, rtol=0)
