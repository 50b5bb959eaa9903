"""`flashtalk bench table4` and `cycle` on random weights: JSON, tables, pictures, ranks."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from flashtalk.cli import cycle_run, rank_processes, table4_run
from flashtalk.cli.bench_pipeline import PipelineChoice
from flashtalk.cli.call_times import CallTimes
from flashtalk.cli.main import main
from flashtalk.cli.peaks import Peaks
from flashtalk.cli.rank_processes import RankFailed, on_ranks
from flashtalk.cli.stage_times import STAGES
from flashtalk.cli.table4_run import choice_of
from flashtalk.engine.flashhead_architecture import FLASHHEAD_ARCHITECTURES
from flashtalk.engine.placement import Placement
from flashtalk.engine.work import Work
from flashtalk.models.checkpoint import Variant
from tests.fakes.flashhead import MICRO_FLASHHEAD, PRESETS, micro_flashhead, write_flashhead
from tests.fakes.fork_server import fork_server
from tests.fakes.weights import MICRO
from tests.patience import patient

VARIANTS: tuple[Variant, ...] = ("pro", "lite")
QUICK = ("--random", "--device", "cpu", "--size", "32x32", "--warmup", "1")


@pytest.fixture(autouse=True)
def small_and_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes are the micro ones, and ranks are copies of a process that has imported all."""

    def micro(args: argparse.Namespace) -> PipelineChoice:
        return dataclasses.replace(choice_of(args), architecture=MICRO)

    monkeypatch.setattr(table4_run, "choice_of", micro)
    monkeypatch.setattr(cycle_run, "choice_of", micro)
    monkeypatch.setattr(rank_processes, "CONTEXT", fork_server())


def report_of(folder: Path, *words: str) -> dict[str, Any]:
    out = folder / "new" / "a.json"
    assert main(["bench", *words, *QUICK, "--out", str(out)]) == 0
    with Image.open(out.with_suffix(".png")) as picture:
        assert picture.size[0] > 600
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 3
    report: dict[str, Any] = json.loads(out.read_text())
    return report


def check_work(row: dict[str, Any]) -> None:
    assert row["moved_bytes"] > 0
    assert row["limit_ms"] == max(row["compute_limit_ms"], row["memory_limit_ms"])
    assert row["limit_share"] == pytest.approx(row["limit_ms"] / row["p50_ms"])
    assert row["bound_by"] in ("compute", "memory")


def test_table4_has_a_row_for_each_number_of_ranks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = report_of(tmp_path, "table4", "--ranks", "2,1", "--repeats", "2")
    shown = capsys.readouterr().out
    assert [row["ranks"] for row in report["rows"]] == [1, 2]
    alone, both = report["rows"]
    for row in report["rows"]:
        assert tuple(row["stages"]) == STAGES
        for stage in row["stages"].values():
            assert 0 < stage["p50_ms"] <= stage["p95_ms"]
            assert stage["count"] == 2
            check_work(stage)
    # The same work, however many share it.
    for name in STAGES:
        assert alone["stages"][name]["flops"] == both["stages"][name]["flops"]
    assert both["layout"] == "ulysses 2 x ring 1"
    assert (alone["width_px"], alone["height_px"]) == (32, 32)
    setting = report["setting"]
    assert (setting["weights"], setting["precision"]) == ("random", "float32")
    assert setting["stand_ins"] == ["clip", "umt5"]
    assert report["peaks"]["matrix_flops_s"].keys() == {"float32", "bfloat16"}
    assert {"python", "torch", "flashtalk"} <= report["versions"].keys()
    assert report["machine"]["cpu_cores"] >= 1
    assert "DiT step, 2 ranks" in shown
    assert max(map(len, shown.splitlines()[3:-2])) <= 80


def test_precision_is_run_as_asked(tmp_path: Path) -> None:
    words = ("table4", "--precision", "bf16", "--repeats", "1", "--no-chart")
    out = tmp_path / "a.json"
    assert main(["bench", *words, *QUICK, "--out", str(out)]) == 0
    assert json.loads(out.read_text())["rows"][0]["dtype"] == {"dit": "bfloat16", "vae": "bfloat16"}
    assert not out.with_suffix(".png").exists()


def test_cycle_is_the_sum_of_its_stages_and_starts_in_two_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = report_of(tmp_path, "cycle", "--chunks", "2", "--steps", "2")
    shown = capsys.readouterr().out
    stages, start = report["stages"], report["startup"]
    assert list(stages) == ["audio", "denoise", "decode", "color", "motion", "h264", "rest"]
    for name in ("audio", "denoise", "decode", "color", "motion"):
        check_work(stages[name])
    assert "limit_ms" not in stages["h264"]
    assert report["setting"]["steps"] == 2
    assert report["cycle"]["frames"] == 28
    # What the stream contract says, found by feeding 20 ms at a time.
    assert start["sound_s"] == pytest.approx(1.12)
    assert start["computing_s"] > 0
    assert start["computing_cold_s"] > 0
    assert report["memory"]["peak_rss_bytes"] > 1 << 20
    assert "audio needed before the first frame" in shown


@pytest.mark.parametrize("variant", VARIANTS)
def test_random_flashhead_is_measured_without_stand_ins(
    variant: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = PRESETS[variant]
    monkeypatch.setitem(FLASHHEAD_ARCHITECTURES, preset, lambda: MICRO_FLASHHEAD[variant])
    words = ("--preset", preset, "--random", "--size", "64x64", "--device", "cpu", "--no-chart")
    out = tmp_path / "a.json"
    reports = {}
    for run in (["table4", "--repeats", "1"], ["cycle", "--chunks", "1", "--steps", "1"]):
        assert main(["bench", *run, *words, "--warmup", "1", "--out", str(out)]) == 0
        reports[run[0]] = json.loads(out.read_text())
        assert reports[run[0]]["setting"]["stand_ins"] == []
    report = reports["cycle"]
    assert report["cycle"]["frames"] == (28 if variant == "pro" else 24)
    assert report["startup"]["sound_s"] == pytest.approx(1.12 if variant == "pro" else 0.96)


@pytest.mark.parametrize("variant", VARIANTS)
def test_ranks_share_flashhead_and_the_vae_that_can_be_sliced(
    variant: Variant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "weights", tmp_path / "a.json"
    write_flashhead(micro_flashhead(variant), folder, variant)
    words = ("--preset", PRESETS[variant], "--weights", str(folder), "--device", "cpu")
    runs = ("--ranks", "2", "--warmup", "1", "--repeats", "1", "--no-chart", "--out", str(out))
    assert main(["bench", "table4", *words, *runs]) == 0
    (row,) = json.loads(out.read_text())["rows"]
    whole = variant == "lite"
    assert row["layout"] == "ulysses 2 x ring 1"
    assert row["grid"] == ("1" if whole else "1x2")
    said = "The VAE of this preset is not sliced" in capsys.readouterr().out
    assert said is whole


def test_ranks_do_not_shorten_the_limit_of_a_whole_vae() -> None:
    class OnGpu(PipelineChoice):
        def placement(self) -> Placement:
            return dataclasses.replace(super().placement(), device=torch.device("cuda"))

    work, peaks = Work(matrix_flops=10**9), Peaks({"float32": 1e12}, {"float32": 1e12}, 1e12)
    times = CallTimes(0.0, (1.0,))
    found: dict[str, Any] = dict.fromkeys(("width_px", "height_px", "layout", "dtype", "memory"))
    found |= {"times": dict.fromkeys(STAGES, times), "work": dict.fromkeys(STAGES, work)}
    choice = OnGpu(device="cpu", precision="float32")
    limits = {}
    for grid in ("1", "1x2"):
        row = table4_run.row_of(found | {"vae_type": "float32", "grid": grid}, choice, 2, peaks)
        limits[grid] = {name: stage["limit_ms"] for name, stage in row["stages"].items()}
    assert limits["1"]["dit_step"] == limits["1x2"]["dit_step"] == pytest.approx(0.5)
    for name in ("encode", "decode"):
        assert limits["1"][name] == 2 * limits["1x2"][name]


def rank_of(rank: int, ranks: int, what: str) -> tuple[int, int, str]:
    if what == "raise" and rank == 1:
        raise ValueError("no such thing")
    if what == "die" and rank == 1:
        os._exit(3)
    return rank, ranks, what


def test_ranks_answer_in_order() -> None:
    assert on_ranks(rank_of, ("a",), 2, "cpu", patient(60)) == [(0, 2, "a"), (1, 2, "a")]


@pytest.mark.parametrize(
    ("what", "says"),
    [("raise", "rank 1: ValueError: no such thing"), ("die", "rank 1 ended with exit code 3")],
)
def test_a_rank_that_fails_ends_all(what: str, says: str) -> None:
    """Rank 0 waits at the barrier for one that never comes."""
    with pytest.raises(RankFailed, match=says):
        on_ranks(rank_of, (what,), 2, "cpu", patient(60))


def test_ranks_that_are_late_are_ended() -> None:
    with pytest.raises(RankFailed, match="timeout: no result from rank 0, 1"):
        on_ranks(rank_of, ("a",), 2, "cpu", 0.0)
