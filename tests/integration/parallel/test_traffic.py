"""What is sent is what the closed form says, byte for byte."""

import pytest

from flashtalk.parallel import Layout
from flashtalk.parallel.traffic import Evaluation, sent_bytes
from tests.fakes.rank_pool import RankPool
from tests.integration.parallel.networks import Shape, network, shared_velocity

LAYOUTS = [Layout(2, 1), Layout(1, 2), Layout(3, 1), Layout(1, 3), Layout(2, 2), Layout(4, 1),
           Layout(1, 4)]  # fmt: skip


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
