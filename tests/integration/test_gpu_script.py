"""The script for one GPU, rehearsed on a CPU: no part's failure costs another part's result."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import gpu_h100
from tests.benchmarks.gpu_h100 import Run
from tests.patience import patient

REHEARSED = (
    "machine",
    "no-such-part",
    "stages-bf16-eager-720x416",
    "error-bf16-eager-720x416",
    "stages-fp8-eager-720x416",
    "error-fp8-eager-720x416",
    "attention",
    "cycle-bf16-eager-768x448",
    "trace-bf16-eager-720x416",
    "graphs-bf16-eager-720x416",
)


def rehearsed(
    monkeypatch: pytest.MonkeyPatch, out: Path, parts: dict[str, float], budget_s: float
) -> dict[str, Any]:
    monkeypatch.setattr(gpu_h100, "PARTS", parts)
    # Threads that meet at barriers wait for each other's turn where others want the cores.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = ["gpu_h100", "--rehearse", "--out", str(out), "--budget-s", str(budget_s)]
    monkeypatch.setattr(sys, "argv", words)
    gpu_h100.main()
    document: dict[str, Any] = json.loads(out.read_text())
    return document


@pytest.mark.slow
def test_every_part_that_runs_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "a.json"
    parts = dict.fromkeys(REHEARSED, patient(150))
    document = rehearsed(monkeypatch, out, parts, patient(280))
    assert document["rehearsal"] is True
    found = document["parts"]
    assert list(found) == list(REHEARSED)
    states = {name: part["state"] for name, part in found.items()}
    assert states == dict.fromkeys(REHEARSED, "done") | {"no-such-part": "failed"}
    row = found["stages-bf16-eager-720x416"]["result"]
    assert row["stages"].keys() == {"encode", "decode", "dit_step"}
    assert row["build"]["took_s"] > 0
    fp8 = found["stages-fp8-eager-720x416"]["result"]
    assert fp8["stages"]["dit_step"]["flops"] == row["stages"]["dit_step"]["flops"]
    # E4M3 rounds each number by 0.03 at most; random layers neither hide it nor make much of it.
    assert 1e-3 < found["error-fp8-eager-720x416"]["result"]["relative"] < 0.2
    assert found["attention"]["result"]["sdpa"]["relative_to_sdpa"] == 0
    cycle = found["cycle-bf16-eager-768x448"]["result"]
    assert cycle["startup"]["sound_s"] == pytest.approx(1.12)
    assert {"setting", "stages", "cycle", "memory"} <= cycle.keys()
    trace = found["trace-bf16-eager-720x416"]["result"]
    assert trace["denoise"]["longest"]
    # Nothing in the sampler's loop asks the device for a number.
    assert trace["denoise"]["waits"] == {}
    graphs = found["graphs-bf16-eager-720x416"]["result"]["dit_step"]
    assert graphs["graphs"] == 1 + graphs["breaks"]
    assert out.with_suffix(".png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_part_that_hangs_or_dies_costs_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Children that stand for ``gpu_parts``: they write its lines, and then hang or end."""
    child = tmp_path / "child.py"
    child.write_text(CHILD)
    parts = {
        "good": patient(60),
        "hangs": 0.2,
        "dies": patient(60),
        "again": patient(60),
        "last": patient(60),
    }
    monkeypatch.setattr(gpu_h100, "PARTS", parts)
    monkeypatch.setattr(gpu_h100, "CHILD", [sys.executable, str(child)])
    run = Run(tmp_path / "a.json", True, time.monotonic() + patient(120))
    while run.waiting:
        gpu_h100.work(run, tmp_path / "a.lines")
    states = {name: part["state"] for name, part in run.parts.items()}
    assert states == {
        "good": "done",
        "hangs": "late",
        "dies": "died",
        "again": "done",
        "last": "refused",
    }
    assert json.loads(run.out.read_text())["parts"]["dies"]["error"].endswith("9")


def test_when_the_time_is_up_the_rest_is_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    document = rehearsed(monkeypatch, tmp_path / "a.json", {"machine": 60, "attention": 60}, 0.0)
    assert [part["state"] for part in document["parts"].values()] == ["not run", "not run"]
    assert [target["met"] for target in document["targets"]] == [None] * 4


CHILD = """
import json, pathlib, sys, threading
_, _, lines, *parts = sys.argv
path = pathlib.Path(lines)
def add(**line):
    with path.open("a") as file:
        file.write(json.dumps(line) + chr(10))
for part in parts:
    if part.startswith("-"):
        continue
    add(part=part, began=True)
    if part == "hangs":
        threading.Event().wait()
    if part == "dies":
        raise SystemExit(9)
    mark = path.with_suffix(".mark")
    if part == "again" and not mark.exists():
        mark.touch()
        raise SystemExit(75)
    add(part=part, took_s=0.0, **({"refused": "no"} if part == "last" else {"result": {}}))
"""
