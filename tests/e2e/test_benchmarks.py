"""The benchmarks of the suite run, nothing is left behind, a cut is not seen. No time is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def found(name: str, repo_root: Path, out: Path, *arguments: str) -> dict[str, Any]:
    """What a benchmark wrote; it must have ended well."""
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", "--out", str(out), *arguments]
    done = subprocess.run(
        command, cwd=repo_root, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    written: dict[str, Any] = json.loads(out.read_text())
    return written


def test_load(repo_root: Path, tmp_path: Path) -> None:
    report = found("load", repo_root, tmp_path / "a.json", "--callers", "5", "--seconds", "4")
    (result,) = report["results"]
    assert result["callers"] == 5
    assert result["refused"] > 10
    assert result["underruns"] == 0
    assert result["chunks_per_s"] > 0.8 * result["wanted_chunks_per_s"]


def test_soak(repo_root: Path, tmp_path: Path) -> None:
    """Exit code 1 would say that memory grew, a sample was out of place, or something is left."""
    arguments = ("--minutes", "4", "--sessions", "20")
    report = found("soak", repo_root, tmp_path / "a.json", *arguments)
    assert report["stream"]["frames"] == 4 * 60 * 25
    assert report["left_after"]["leases"] == 0


def test_a_cut_is_not_seen(repo_root: Path, tmp_path: Path) -> None:
    report = found("interruption", repo_root, tmp_path / "a.json", "--cuts", "5")
    assert report["interruptions"] == 5
    assert report["stale_frames"] == 0
    assert report["cut_to_border"] <= 1.5
    assert report["cut_ratio"] < 0.7 * report["restart_ratio"]
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_overhead(repo_root: Path, tmp_path: Path) -> None:
    report = found("overhead", repo_root, tmp_path / "a.json", "--chunks", "2")
    assert report["suite_to_engine"] > 0
    assert {"engine chunk", "suite chunk", "first frame"} <= report["tiny"].keys()
    assert report["720x416 payloads"]["chunk"]["p50_ms"] > 0
