"""What is sent is what the closed form says, byte for byte."""

import pytest

from flashtalk.parallel import Grid, Layout
from flashtalk.parallel.traffic import Evaluation, sent_bytes
from tests.fakes.rank_pool import RankPool
from tests.integration.parallel.networks import Shape, network, shared_exchanges, shared_velocity
from tests.integration.parallel.pictures import Picture, sliced_exchanges

LAYOUTS = [
    Layout(2, 1),
    Layout(1, 2),
    Layout(3, 1),
    Layout(1, 3),
    Layout(2, 2),
    Layout(4, 1),
    Layout(1, 4),
]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_bytes_are_those_of_the_closed_form(
    pools: dict[int, RankPool], layout: Layout, batch: int
) -> None:
    shape = Shape(heads=12, head_dim=12, frames=3, rows=3, columns=5, batch=batch)
    config = network(shape).config
    sizes = Evaluation(
        tokens=shape.tokens,
        heads=config.num_heads,
        head_dim=config.head_dim,
        layers=config.num_layers,
        context_tokens=config.text_len + config.clip_tokens,
        batch=batch,
        element_bytes=4,
    )
    for rank, (_, sent) in enumerate(pools[layout.ranks].run(shared_velocity, layout, shape)):
        assert dict(sent) == sent_bytes(layout, rank, sizes)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_all_ranks_come_to_the_same_exchanges(pools: dict[int, RankPool], layout: Layout) -> None:
    """Whatever each of them sends: the one that has come to fewer is the one that is missing."""
    shape = Shape(heads=12, head_dim=12, frames=3, rows=3, columns=5, batch=1)
    counts = pools[layout.ranks].run(shared_exchanges, layout, shape)
    assert len(set(counts)) == 1
    assert counts[0] > 0


@pytest.mark.parametrize("grid", [Grid(3, 1), Grid(1, 4), Grid(2, 2)], ids=str)
def test_all_slices_come_to_the_same_exchanges(pools: dict[int, RankPool], grid: Grid) -> None:
    """The ones in the middle have more neighbours than those at the border."""
    picture = Picture("tiny", rows=5, columns=5)
    counts = pools[grid.ranks].run(sliced_exchanges, grid, picture, "decode")
    assert len(set(counts)) == 1
    assert counts[0] > 0
