"""Limits, times and paces: arithmetic that any machine agrees on."""

from __future__ import annotations

import pytest
import torch

from flashtalk.cli.call_times import CallTimes, Repeats, time_calls
from flashtalk.cli.peaks import Peaks, Sizes, measure_peaks
from flashtalk.cli.stage_limits import Limit, stage_row
from flashtalk.cli.stage_times import slowest
from flashtalk.cli.stream_run import Arrival, Paces, as_json
from flashtalk.cli.table4_run import read_ranks
from flashtalk.cli.table_report import number
from flashtalk.engine.work import Work
from flashtalk.errors import InputError

PEAKS = Peaks(
    matrix_flops_s={"float32": 1e12, "bfloat16": 4e12, "float8": 8e12},
    convolution_flops_s={"float32": 1e12, "bfloat16": 2e12},
    copy_bytes_s=1e9,
)
WORK = Work(
    matrix_flops=8 * 10**9,
    attention_flops=4 * 10**9,
    convolution_flops=2 * 10**9,
    matrix_weight_bytes=10**6,
    convolution_weight_bytes=10**5,
    activation_bytes=9 * 10**5,
)


@pytest.mark.parametrize(
    ("precision", "compute_ms", "memory_ms"),
    [
        ("float32", 8 + 4 + 2, 2.0),
        ("bfloat16", 2 + 1 + 1, 2.0),
        # Products in FP8, attention and convolutions in bfloat16, weights of products halved.
        ("float8", 1 + 1 + 1, 1.5),
    ],
)
def test_each_kind_of_work_goes_at_its_own_peak(
    precision: str, compute_ms: float, memory_ms: float
) -> None:
    limit = Limit.of(WORK, PEAKS, precision)
    assert limit.compute_ms == pytest.approx(compute_ms)
    assert limit.memory_ms == pytest.approx(memory_ms)
    assert (limit.ms, limit.bound_by) == (limit.compute_ms, "compute")
    assert Limit.of(WORK, PEAKS, precision, devices=2).ms == pytest.approx(limit.ms / 2)


def test_a_stage_that_only_moves_is_bound_by_memory() -> None:
    limit = Limit.of(Work(activation_bytes=3 * 10**6), PEAKS, "float32")
    assert (limit.compute_ms, limit.bound_by) == (0, "memory")
    assert limit.ms == limit.memory_ms == pytest.approx(3)


def test_a_device_without_fp8_is_taken_at_bfloat16() -> None:
    without = Peaks({"bfloat16": 4e12}, {"bfloat16": 2e12}, 1e9)
    assert Limit.of(WORK, without, "float8").compute_ms == pytest.approx(4)


def test_a_row_says_how_near_the_limit_is() -> None:
    times = CallTimes(3.0, tuple(value / 1e3 for value in range(20, 41)))
    row = stage_row(times, WORK, Limit.of(WORK, PEAKS, "float32"))
    assert (row["p50_ms"], row["count"], row["warmup_s"]) == (pytest.approx(30), 21, 3.0)
    assert row["p95_ms"] == pytest.approx(39)
    assert row["tflops_s"] == pytest.approx(14e9 / 0.03 / 1e12)
    assert row["peak_share"] == row["limit_share"] == pytest.approx(14 / 30)


def test_the_slowest_rank_counts() -> None:
    ranks = [{"a": CallTimes(1.0, (1.0, 4.0))}, {"a": CallTimes(2.0, (3.0, 2.0))}]
    assert slowest(ranks) == {"a": CallTimes(2.0, (3.0, 4.0))}


def test_calls_are_counted() -> None:
    called: list[None] = []
    times = time_calls(lambda: called.append(None), torch.device("cpu"), Repeats(2, 3))
    assert len(called) == 5
    assert len(times.calls_s) == 3
    assert min(times.calls_s) >= 0


@pytest.mark.parametrize(("warmup", "count"), [(-1, 1), (0, 0), (0, 10_001)])
def test_calls_within_bounds(warmup: int, count: int) -> None:
    with pytest.raises(InputError):
        Repeats(warmup, count)


def test_peaks_are_measured_for_each_type() -> None:
    peaks = measure_peaks(torch.device("cpu"), Sizes(64, (2, 4, 4), 4096, Repeats(0, 2)))
    assert (
        peaks.matrix_flops_s.keys() == peaks.convolution_flops_s.keys() == {"float32", "bfloat16"}
    )
    assert min(*peaks.matrix_flops_s.values(), peaks.copy_bytes_s) > 0


def test_the_higher_of_two_peaks_counts() -> None:
    other = Peaks({"float32": 2e12, "bfloat16": 1e12}, {"float32": 5e11, "bfloat16": 3e12}, 2e9)
    assert (
        PEAKS.or_better(other)
        == other.or_better(PEAKS)
        == Peaks(
            {"float32": 2e12, "bfloat16": 4e12, "float8": 8e12},
            {"float32": 1e12, "bfloat16": 3e12},
            2e9,
        )
    )


@pytest.mark.parametrize(("text", "found"), [("1", [1]), ("4, 1,2,2", [1, 2, 4])])
def test_numbers_of_ranks(text: str, found: list[int]) -> None:
    assert read_ranks(text) == found


@pytest.mark.parametrize("text", ["", "1,", "0", "-1", "1.5", "two", "65"])
def test_what_is_no_number_of_ranks(text: str) -> None:
    with pytest.raises(InputError, match="ranks"):
        read_ranks(text)


def arrivals(times_s: list[float], media_s: float = 2.0) -> list[Arrival]:
    return [Arrival(at_s, media_s, 1, {"decode": 0.25}) for at_s in times_s]


def test_a_period_is_from_chunk_to_chunk_in_parts_of_what_it_plays() -> None:
    """The first two chunks of each session are warm-up; sessions do not mix."""
    sessions = [arrivals([50, 60, 61, 63]), arrivals([0, 10, 14])]
    paces = Paces.of(sessions, warmup=2)
    assert paces.periods_s == (1, 2, 4)
    assert paces.ratios == (0.5, 1.0, 2.0)


def test_the_95th_percentile_decides_whether_a_suite_keeps_up() -> None:
    """One late chunk of twenty is beyond it, two are not."""
    late_s = [float(at + (at > 10)) for at in range(22)]
    report = as_json("there:1", 1, [arrivals(late_s, media_s=1.01)])
    assert report["setting"]["chunks"] == 21
    assert report["period_over_media"]["p50"] == pytest.approx(1 / 1.01)
    assert report["period_over_media"]["worst"] == pytest.approx(2 / 1.01)
    assert report["keeps_up"] is True
    twice_late_s = [float(at + (at > 10) + (at > 15)) for at in range(22)]
    assert as_json("there:1", 1, [arrivals(twice_late_s, media_s=1.01)])["keeps_up"] is False
    assert report["stages"]["decode"]["p50_ms"] == 250
    assert report["retries"] == 21


@pytest.mark.parametrize(
    ("value", "shown"), [(1234.5, "1234"), (99.94, "99.9"), (0.01234, "0.0123"), (0, "0")]
)
def test_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown
