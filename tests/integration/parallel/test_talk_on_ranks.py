"""A talk on several ranks is the talk on one: tokens of the transformer and pictures are shared.

Sums in another order differ in their last bits, and a byte that is cut off from a float can then be
one lower; the published code's own two runs differ so, too.
"""

from pathlib import Path

import numpy as np
import pytest

from flashtalk.media.image import read_image
from flashtalk.parallel import Grid, Layout
from tests.fakes.rank_pool import RankPool
from tests.integration.parallel.talks import PORTRAIT, guided_frames, talk_frames
from tests.tolerances import assert_frames


@pytest.mark.parametrize(
    ("layout", "grid"),
    [
        (Layout(2, 1), Grid(1, 2)),
        (Layout(1, 2), Grid(2, 1)),
        (Layout(1, 3), Grid(3, 1)),
        (Layout(2, 2), Grid(2, 2)),
    ],
    ids=str,
)
def test_frames_of_several_ranks_are_those_of_one(
    pools: dict[int, RankPool], layout: Layout, grid: Grid
) -> None:
    alone = talk_frames(None, None, None, PORTRAIT)
    assert len(alone) == 28 * 3
    first, *others = pools[layout.ranks].run(talk_frames, layout, grid, None, PORTRAIT)
    assert_frames(first, alone)
    assert all(np.array_equal(first, frames) for frames in others)


@pytest.mark.parametrize("layout", [Layout(2, 1), Layout(1, 2)], ids=str)
def test_guidance_is_shared_too(pools: dict[int, RankPool], layout: Layout) -> None:
    for frames in pools[2].run(guided_frames, layout):
        assert_frames(frames, guided_frames(None))


@pytest.mark.weights
def test_the_shipped_weights_talk_alike_on_two_ranks(
    pools: dict[int, RankPool], repo_root: Path
) -> None:
    weights = repo_root / "weights" / "tiny"
    portrait = read_image(repo_root / "examples" / "portrait.png")
    alone = talk_frames(None, None, weights, portrait, 2)
    for frames in pools[2].run(talk_frames, Layout(2, 1), Grid(1, 2), weights, portrait, 2):
        assert_frames(frames, alone)
