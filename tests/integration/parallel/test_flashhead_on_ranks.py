"""FlashHead on N ranks gives what it gives on one, over both of its forms.

The shares of the ranks begin and end inside latent frames, whose speech both neighbours need.
"""

import pytest
import torch
from safetensors.torch import load_file

from flashtalk.parallel import Layout
from tests.fakes.golden_models import FLASHHEAD_GOLDENS
from tests.fakes.rank_pool import RankPool
from tests.integration.parallel.networks import flashhead_golden_velocity, flashhead_velocity
from tests.tolerances import PUBLISHED, assert_rounded

Pools = dict[int, RankPool]
VARIANTS = ("pro", "lite")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("layout", [Layout(2, 1), Layout(1, 2), Layout(2, 2)], ids=str)
def test_the_published_numbers_on_every_layout(pools: Pools, layout: Layout, variant: str) -> None:
    recorded = load_file(FLASHHEAD_GOLDENS / f"dit_{variant}_tiny.safetensors")["out.t1"]
    alone = flashhead_golden_velocity(None, variant)
    for v in pools[layout.ranks].run(flashhead_golden_velocity, layout, variant):
        assert_rounded(v, alone)
        torch.testing.assert_close(v, recorded, atol=PUBLISHED, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    "layout", [Layout(2, 1), Layout(3, 1), Layout(4, 1), Layout(2, 2)], ids=str
)
def test_twelve_heads_on_every_layout(pools: Pools, layout: Layout, variant: str) -> None:
    alone = flashhead_velocity(None, variant)
    first, *others = pools[layout.ranks].run(flashhead_velocity, layout, variant)
    assert_rounded(first, alone)
    assert all(torch.equal(first, v) for v in others)
