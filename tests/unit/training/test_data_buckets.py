"""Sizes of frames, and which samples make the batch of a step."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flashtalk.errors import InputError
from training.core.world import World
from training.data.buckets import BucketPlan, assign_buckets, nearest_bucket
from training.data.order import BucketOrder

REPORT = BucketPlan()
TINY = BucketPlan(area_px=96 * 96, tolerance=0.13, always=())


def log_ratio(size_hw: tuple[int, int]) -> float:
    return math.log(size_hw[1] / size_hw[0])


@pytest.mark.parametrize("plan", [REPORT, TINY, BucketPlan(768 * 448, always=((448, 768),))])
def test_every_bucket_keeps_the_rules(plan: BucketPlan) -> None:
    sizes = plan.sizes()
    assert len(sizes) == len(set(sizes)) > 1
    for height, width in sizes:
        assert height % 16 == width % 16 == 0
        assert abs(height * width / plan.area_px - 1) < plan.tolerance
        assert 9 / 16 <= width / height <= 16 / 9
    assert list(sizes) == sorted(sizes, key=log_ratio)


def test_the_report_has_its_two_sizes_and_those_between() -> None:
    sizes = REPORT.sizes()
    assert {(416, 720), (720, 416)} <= set(sizes)
    # Worked out by hand: 299,520 / 544 / 16 = 34.4, so 544x544; 299,520 / 640 / 16 = 29.25.
    assert {(544, 544), (464, 640), (640, 464)} <= set(sizes)
    # 299,520 / 448 / 16 = 41.8: to the nearest, not downwards.
    assert (672, 448) in sizes
    assert len({width for _, width in sizes}) == len(sizes)
    # The report's own are there even where the rules would not give them.
    strict = BucketPlan(tolerance=0.001, flattest=1.01)
    assert {(416, 720), (720, 416)} <= set(strict.sizes())


def test_every_size_is_mirrored() -> None:
    sizes = set(REPORT.sizes())
    landscape = {size for size in sizes if size[0] < size[1]}
    mirrored = {(width, height) for height, width in landscape}
    # Rounding the height for each width is not symmetric; the shapes still cover both sides.
    assert len(sizes - landscape) >= len(mirrored) - 2


@given(st.integers(16, 4000), st.integers(16, 4000))
def test_a_video_goes_where_the_ratio_is_nearest(height: int, width: int) -> None:
    sizes = REPORT.sizes()
    chosen = nearest_bucket((height, width), sizes)
    best = min(abs(log_ratio(size) - log_ratio((height, width))) for size in sizes)
    assert abs(log_ratio(chosen) - log_ratio((height, width))) == pytest.approx(best)


@pytest.mark.parametrize(
    ("size_hw", "bucket"),
    [((1080, 1920), (416, 720)), ((1920, 1080), (720, 416)), ((512, 512), (544, 544))],
)
def test_usual_videos(size_hw: tuple[int, int], bucket: tuple[int, int]) -> None:
    sizes = REPORT.sizes()
    assert abs(log_ratio(nearest_bucket(size_hw, sizes)) - log_ratio(bucket)) < 0.02


def test_ratios_are_compared_as_logarithms() -> None:
    """0.765 lies nearer to 9:16 as a number, and nearer to 1 as a factor."""
    assert nearest_bucket((1000, 765), [(1600, 900), (1000, 1000)]) == (1000, 1000)


def test_a_bucket_with_too_few_videos_gives_them_to_its_neighbours() -> None:
    sizes = [(720, 416)] * 10 + [(544, 544)] * 2 + [(416, 720)] * 5
    plan = BucketPlan(fewest=3)
    assigned = assign_buckets(sizes, plan)
    assert Counter(assigned).keys() == {(720, 416), (416, 720)}
    assert assigned[0] == (720, 416)
    assert assigned[-1] == (416, 720)
    assert len(assigned) == len(sizes)
    alone = assign_buckets([(544, 544)], BucketPlan(fewest=3))
    assert alone == [(544, 544)]
    assert len(set(assign_buckets(sizes, BucketPlan(fewest=100)))) == 1


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"area_px": 100}, "area_px"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"flattest": 0.9}, "flattest"),
        ({"fewest": 0}, "fewest"),
        ({"always": ((100, 100),)}, "always"),
    ],
)
def test_bad_plans_are_named(arguments: dict[str, object], field: str) -> None:
    with pytest.raises(InputError) as caught:
        BucketPlan(**arguments)  # type: ignore[arg-type]
    assert caught.value.field == field


COUNTS = {"tall": 70, "square": 23, "wide": 130, "empty": 0}


def test_one_bucket_per_step_alike_on_all_ranks_and_no_sample_twice() -> None:
    for step in range(120):
        whole = BucketOrder(COUNTS, 8, seed=3).at(step)
        ranks = [World(rank, 4, torch.device("cpu")) for rank in range(4)]
        parts = [(BucketOrder(COUNTS, 8, seed=3).at(step), rank.rows(8)) for rank in ranks]
        assert {part.bucket for part, _ in parts} == {whole.bucket}
        rows = np.concatenate([part.row_B[mine] for part, mine in parts])
        assert rows.tolist() == whole.row_B.tolist()
        assert len(set(rows.tolist())) == 8
        assert rows.min() >= 0
        assert rows.max() < COUNTS[whole.bucket]


def test_the_step_alone_decides_whatever_came_before() -> None:
    forwards = BucketOrder(COUNTS, 8)
    there = [forwards.at(step) for step in range(200)]
    back = BucketOrder(COUNTS, 8)
    for step in reversed(range(200)):
        assert back.at(step).bucket == there[step].bucket
        assert back.at(step).row_B.tolist() == there[step].row_B.tolist()


def test_another_seed_is_another_order() -> None:
    single = [BucketOrder({"only": 64}, 8, seed).at(0).row_B.tolist() for seed in range(4)]
    assert len({tuple(rows) for rows in single}) == 4
    turns = [
        tuple(order.at(step).bucket for step in range(20))
        for order in (BucketOrder(COUNTS, 8, seed) for seed in range(4))
    ]
    assert len(set(turns)) == 4


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=5).filter(any),
    st.integers(1, 12),
    st.integers(0, 3),
)
def test_every_sample_once_per_round_and_buckets_in_proportion(
    counts: list[int], batch: int, seed: int
) -> None:
    order = BucketOrder(dict(enumerate(counts)), batch, seed)
    steps = 3 * sum(counts) // batch + 1
    seen: dict[int, list[int]] = {bucket: [] for bucket in range(len(counts))}
    for step in range(steps):
        draw = order.at(step)
        if counts[draw.bucket] >= batch:
            assert len(set(draw.row_B.tolist())) == batch
        seen[draw.bucket] += draw.row_B.tolist()
    for bucket, rows in seen.items():
        count = counts[bucket]
        # In proportion: a bucket lags or leads by what one look at all samples leaves over.
        share = steps * batch * count / sum(counts)
        assert abs(len(rows) - share) <= count + 2 * batch
        for first in range(0, len(rows) - count + 1, max(count, 1)):
            assert sorted(rows[first : first + count]) == list(range(count))


def test_what_is_left_over_is_carried_over() -> None:
    """10 samples in batches of 4: the third batch ends one round and begins the next."""
    order = BucketOrder({"only": 10}, 4)
    rows = [order.at(step).row_B.tolist() for step in range(5)]
    assert sorted(row for batch in rows for row in batch) == sorted([*range(10), *range(10)])
    assert sorted(rows[0] + rows[1] + rows[2][:2]) == list(range(10))
    assert len(set(rows[2])) == 4


def test_bad_orders_are_named() -> None:
    with pytest.raises(InputError, match="samples"):
        BucketOrder({"empty": 0}, 4)
    with pytest.raises(InputError, match="batch"):
        BucketOrder({"some": 5}, 0)
    order = BucketOrder({"some": 5}, 4)
    with pytest.raises(InputError, match="step"):
        order.at(-1)
    with pytest.raises(InputError, match="multiple of the 3 ranks"):
        World(0, 3, torch.device("cpu")).rows(4)
