"""Slices of a picture, computed by ranks that exchange borders, are the whole picture's."""

import random
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file

from flashtalk.errors import InputError
from flashtalk.parallel import Grid, check_grid
from tests.fakes.golden_models import VAE_GOLDEN
from tests.fakes.rank_pool import RankError, RankPool
from tests.integration.parallel.pictures import (
    CONFIGS,
    Call,
    Picture,
    golden_result,
    network,
    result,
    sliced_result,
)
from tests.tolerances import PUBLISHED, assert_rounded

Pools = dict[int, RankPool]
GRIDS = [
    Grid(rows, ranks // rows)
    for ranks in (2, 3, 4)
    for rows in range(1, ranks + 1)
    if ranks % rows == 0
]


def pictures(grid: Grid, count: int) -> list[tuple[Picture, Call]]:
    """Random ones that fit a grid, most of them unevenly, and a call each."""
    draw = random.Random(str(grid))
    return [
        (
            Picture(
                config=draw.choice(list(CONFIGS)),
                rows=grid.rows + draw.randint(0, 4),
                columns=grid.columns + draw.randint(0, 4),
                latents=draw.randint(2, 3),
                batch=draw.randint(1, 2),
                seed=draw.randrange(1000),
            ),
            draw.choice(get_args(Call)),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_slices_are_the_whole(pools: Pools, grid: Grid) -> None:
    for picture, call in pictures(grid, 6):
        whole = result(network(picture.config, picture.seed), picture, call)
        for found, _ in pools[grid.ranks].run(sliced_result, grid, picture, call):
            assert_rounded(found, whole, f"{picture} {call}")


CASES = [("slice2x2", Grid(2, 2)), ("slice1x4", Grid(1, 4)), ("sliceenc2x2", Grid(2, 2))]


@pytest.mark.parametrize(("case", "grid"), CASES)
def test_the_recorded_pictures_are_exact(pools: Pools, case: str, grid: Grid) -> None:
    golden = load_file(VAE_GOLDEN)
    whole = golden_result(None, case, exact=True)
    for found in pools[grid.ranks].run(golden_result, grid, case, True):
        assert_rounded(found, whole)
        if f"{case}.unsliced" in golden:
            torch.testing.assert_close(found, golden[f"{case}.unsliced"], atol=PUBLISHED, rtol=0)


@pytest.mark.parametrize(("case", "grid"), CASES)
def test_overlap_is_what_the_published_code_does(pools: Pools, case: str, grid: Grid) -> None:
    recorded = load_file(VAE_GOLDEN)[f"{case}.out"]
    whole = golden_result(None, case, exact=True)
    for found in pools[grid.ranks].run(golden_result, grid, case, False):
        torch.testing.assert_close(found, recorded, atol=PUBLISHED, rtol=0)
        assert (found - whole).abs().mean() > 0.02


def test_exact_slices_send_borders_and_overlapping_ones_only_results(pools: Pools) -> None:
    picture = Picture("published", rows=4, columns=5)
    grid = Grid(2, 2)
    for exact, kinds in ((True, {"halo", "frame", "join"}), (False, {"join"})):
        for _, sent in pools[4].run(sliced_result, grid, picture, "decode", exact):
            assert set(sent) == kinds


def test_a_grid_that_does_not_fit_is_refused_on_every_rank(pools: Pools) -> None:
    picture = Picture("tiny", rows=2, columns=4)
    with pytest.raises(RankError, match="grid rows: 3: at most 2, one for each latent cell"):
        pools[3].run(sliced_result, Grid(3, 1), picture, "decode")
    with pytest.raises(InputError, match="grid rows: 3"):
        check_grid(Grid(3, 1), (2, 4))
    with pytest.raises(RankError, match="grid rows x columns: 4: 3, the ranks that were started"):
        pools[3].run(sliced_result, Grid(2, 2), picture, "decode")
    pools[3].run(sliced_result, Grid(1, 3), picture, "decode")
