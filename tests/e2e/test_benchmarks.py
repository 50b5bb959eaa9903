"""The benchmarks of the suite run, and what must hold on any machine holds. No time is judged."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from flashtalk.cli.bench_soak import FLAT_MIB, MIB
from tests.e2e.forked_services import forked_services
from tests.e2e.processes import environment

WINDOW_BYTES = 8 * 16_000 * 4
"""The largest thing that a chunk needs: the speech that its features are made of."""


def found(
    name: str, repo_root: Path, out: Path, *arguments: str, weights: Path | None = None
) -> dict[str, Any]:
    """What a benchmark wrote; it must have ended well. The weights are those that are shipped.

    It runs in this process, what it measures in processes of their own.
    """
    module = importlib.import_module(f"tests.benchmarks.{name}")
    words = [name, "--out", str(out), *arguments]
    given = environment(weights or repo_root / "weights/tiny")
    with (
        mock.patch.object(sys, "argv", words),
        mock.patch.dict(os.environ, given),  # noqa: TID251 - what a shell would hand on
        contextlib.chdir(repo_root),
        forked_services(),
    ):
        assert module.main() == 0
    written: dict[str, Any] = json.loads(out.read_text())
    return written


def test_load(repo_root: Path, tmp_path: Path) -> None:
    """A session beyond capacity would have ended it with an error."""
    arguments = ("--callers", "5", "--seconds", "2", "--ramp", "1", "--settle", "1")
    report = found("load", repo_root, tmp_path / "a.json", *arguments)
    (result,) = report["results"]
    assert result["callers"] == len(result["frames"]) == 5
    assert min(result["frames"]) > 0
    assert result["misplaced_frames"] == 0
    assert result["refused"] >= 1
    assert {"underruns", "chunks_per_s", "wanted_chunks_per_s", "cores"} <= result.keys()


def test_soak(repo_root: Path, weights: Path, tmp_path: Path) -> None:
    """Exit code 1 would say that memory grew, a sample was out of place, or something is left."""
    arguments = ("--minutes", "1.5", "--sessions", "10")
    report = found("soak", repo_root, tmp_path / "a.json", *arguments, weights=weights)
    stream = report["stream"]
    assert stream["frames"] == 1.5 * 60 * 25
    # Long enough: from its second quarter to its last, memory would grow by more than it may if
    # any process kept the speech of every chunk.
    assert stream["chunks"] / 2 * WINDOW_BYTES > FLAT_MIB * MIB
    assert sum(report["sessions"].values()) == 10
    assert report["left_after"]["leases"] == report["left_after"]["streams"] == 0


def test_a_cut_is_not_seen(repo_root: Path, tmp_path: Path) -> None:
    report = found("interruption", repo_root, tmp_path / "a.json", "--cuts", "3")
    assert report["interruptions"] == 3
    assert report["stale_frames"] == 0
    assert report["cut_to_border"] <= 1.5
    assert report["cut_ratio"] < 0.7 * report["restart_ratio"]
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_an_idle_loop_is_not_seen(repo_root: Path, tmp_path: Path) -> None:
    report = found("idle_loop", repo_root, tmp_path / "a.json", "--pauses", "2")
    assert report["computed_to_played_ratio"] == 0, "it turns at the picture that is shown"
    assert report["played_to_played_ratio"] <= report["computed_to_computed_ratio"]
    assert report["played_to_computed_ratio"] <= 1.5 * report["computed_to_computed_ratio"]
    assert report["computed_chunks"] < report["chunks"]


def test_load_with_pauses(repo_root: Path, tmp_path: Path) -> None:
    arguments = ("--callers", "3", "--seconds", "14", "--ramp", "1", "--settle", "1")
    report = found("load", repo_root, tmp_path / "a.json", *arguments, "--speech-share", "0.1")
    model, loop = report["results"]
    assert [model["idle_policy"], loop["idle_policy"]] == ["MODEL", "LOOP"]
    assert model["computed_share"] == 1
    assert 0 < loop["computed_share"] < 1
    assert sum(result["misplaced_frames"] for result in report["results"]) == 0


def test_overhead(repo_root: Path, weights: Path, tmp_path: Path) -> None:
    arguments = ("--chunks", "2", "--warm-up", "1", "--weights", str(weights))
    report = found("overhead", repo_root, tmp_path / "a.json", *arguments, weights=weights)
    assert report["chunks"] == 2
    assert report["suite_to_engine"] > 0
    assert {"engine chunk", "suite chunk", "first frame"} <= report["tiny"].keys()
    assert report["720x416 payloads"]["chunk"]["p50_ms"] > 0
