"""``python -m training.ablate``: from a teacher to the table, with real trainings at toy size."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from training.ablate import plan
from training.ablate.__main__ import main

KEPT = ("K = 1", "K = 1, equal time", "random 1..5")


def test_the_command_trains_judges_and_shows_the_table(
    trained: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Three rows of the five, which take the same ways."""
    rows = tuple(row for row in plan.TABLES["table2"] if row.title in KEPT)
    monkeypatch.setattr(plan, "TABLES", {"table2": rows})
    command = [
        "table2", "--smoke", "--seeds", "1", "--jobs", "2", "--data", str(data_dir),
        "--weights", str(trained), "--out", str(tmp_path / "out"),
        "--judge", "--quick --short 1 --short-seconds 2 --long 0 --wrong-audio 0",
    ]  # fmt: skip
    assert main(command) == 0
    text = (tmp_path / "out" / "table2.md").read_text()
    assert text.strip() in capsys.readouterr().out
    for title in KEPT:
        assert text.count(f"| {title} |") >= 2, "measures and cost"
    assert (tmp_path / "out" / "table2.png").stat().st_size > 1000
    assert "FPS" not in text

    # Reports are enough to show the tables again, long after the students are gone.
    shutil.rmtree(tmp_path / "out" / "runs")
    for student in (tmp_path / "out" / "weights").glob("table2*"):
        shutil.rmtree(student)
    (tmp_path / "out" / "runs").mkdir()
    assert main(command) == 0, "all is there"
    assert text.strip() in capsys.readouterr().out
    assert not list((tmp_path / "out" / "runs").iterdir())
    assert main([*command, "--set", "steps=2"]) == 2
    assert "other settings" in capsys.readouterr().err
