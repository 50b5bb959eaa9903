"""N ranks give what one rank gives: the transformer in every layout, over random shapes."""

import random

import pytest
import torch
from safetensors.torch import load_file

from flashtalk.errors import InputError
from flashtalk.parallel import Layout, check_layout, choose_layout
from tests.fakes.rank_pool import RankError, RankPool
from tests.integration.parallel.networks import (
    GOLDEN,
    Shape,
    golden_velocity,
    network,
    shared_velocity,
    velocity,
    velocity_by_kernel,
)
from tests.tolerances import PUBLISHED, assert_rounded

Pools = dict[int, RankPool]
LAYOUTS = [
    Layout(u, ranks // u) for ranks in (2, 3, 4) for u in range(1, ranks + 1) if ranks % u == 0
]


def shapes(layout: Layout, count: int) -> list[Shape]:
    """Random ones that are legal in a layout; their tokens mostly do not divide."""
    draw = random.Random(str(layout))
    return [
        Shape(
            heads=layout.ulysses * draw.randint(1, 3),
            head_dim=draw.choice((12, 16, 24)),
            frames=draw.randint(1, 9),
            rows=draw.randint(1, 5),
            columns=draw.randint(4, 7),
            batch=draw.randint(1, 2),
            seed=draw.randrange(1000),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_every_rank_gives_what_one_rank_gives(pools: Pools, layout: Layout) -> None:
    for shape in shapes(layout, 6):
        with torch.inference_mode():
            alone = velocity(network(shape), shape)
        for v, _ in pools[layout.ranks].run(shared_velocity, layout, shape):
            assert_rounded(v, alone, str(shape))


@pytest.mark.parametrize(
    "layout", [Layout(2, 1), Layout(1, 2), Layout(1, 3), Layout(2, 2), Layout(1, 4)], ids=str
)
def test_the_published_numbers_on_every_layout(pools: Pools, layout: Layout) -> None:
    recorded = load_file(GOLDEN)["out.t1"]
    alone = golden_velocity(None)
    for v in pools[layout.ranks].run(golden_velocity, layout):
        assert_rounded(v, alone)
        torch.testing.assert_close(v, recorded, atol=PUBLISHED, rtol=0)


def test_all_ranks_hold_the_same_bits(pools: Pools) -> None:
    """Otherwise their next inputs would differ, and a chunk's steps would drift apart."""
    shape = Shape(heads=4, head_dim=16, frames=3, rows=3, columns=5)
    first, *others = (v for v, _ in pools[4].run(shared_velocity, Layout(2, 2), shape))
    assert all(torch.equal(first, v) for v in others)


@pytest.mark.parametrize("layout", [Layout(2, 1), Layout(1, 2)], ids=str)
def test_a_kernel_that_was_named_is_taken_on_every_rank(pools: Pools, layout: Layout) -> None:
    shape = Shape(heads=2, head_dim=16, frames=3, rows=3, columns=5)
    with torch.inference_mode():
        alone = velocity(network(shape), shape)
    for v in pools[2].run(velocity_by_kernel, layout, shape, "sdpa"):
        assert_rounded(v, alone)


def test_bfloat16_is_as_close_as_bfloat16_is(pools: Pools) -> None:
    shape = Shape(heads=4, head_dim=16, frames=3, rows=3, columns=5, dtype=torch.bfloat16)
    alone = velocity(network(shape), shape)
    for layout in (Layout(4, 1), Layout(1, 4)):
        for v, _ in pools[4].run(shared_velocity, layout, shape):
            assert (v - alone).abs().mean() < 0.02 * alone.abs().mean()


@pytest.mark.parametrize(
    ("layout", "shape", "why"),
    [
        (Layout(3, 1), Shape(4, 16, 2, 2, 2), "ulysses: 3: a divisor of the 4 heads"),
        (Layout(1, 3), Shape(4, 16, 1, 1, 2), "ranks: 3: at most 2, one for each token"),
    ],
)
def test_what_is_not_legal_is_refused_on_every_rank(
    pools: Pools, layout: Layout, shape: Shape, why: str
) -> None:
    with pytest.raises(RankError) as refused:
        pools[3].run(shared_velocity, layout, shape)
    assert "InputError" in str(refused.value)
    with pytest.raises(InputError) as said:
        check_layout(layout, shape.heads, shape.tokens)
    assert str(said.value) in str(refused.value)
    assert why in str(said.value)
    # The group is as good as before.
    fine = Shape(3, 16, 2, 2, 2)
    pools[3].run(shared_velocity, Layout(3, 1), fine)


def test_a_layout_for_other_ranks_than_there_are_is_refused(pools: Pools) -> None:
    with pytest.raises(RankError, match="ulysses x ring: 4"):
        pools[2].run(shared_velocity, Layout(2, 2), Shape(2, 16, 2, 2, 2))


@pytest.mark.parametrize(
    ("ranks", "heads", "expected"),
    [
        (8, 40, Layout(8, 1)),
        (4, 40, Layout(4, 1)),
        (3, 40, Layout(1, 3)),
        (6, 40, Layout(2, 3)),
        (16, 40, Layout(8, 2)),
        (4, 6, Layout(2, 2)),
        (1, 40, Layout(1, 1)),
    ],
)
def test_ulysses_goes_before_ring(ranks: int, heads: int, expected: Layout) -> None:
    assert choose_layout(ranks, heads) == expected
