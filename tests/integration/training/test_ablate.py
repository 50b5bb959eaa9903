"""``python -m training.ablate``: from a teacher to the table, with real trainings at toy size."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.integration.training.forked import ForkedCommand
from training.ablate import jobs, plan
from training.ablate.__main__ import main

TERMINAL_COLUMNS = 80

# Two rows take all ways: so many turns as it says, and so long as another.
ROWS = (
    plan.Row("K = 1", "table2_k1", seeded=True),
    plan.Row("K = 1, equal time", "table2_k1", as_long_as="table2_k1"),
)


def test_the_command_trains_judges_and_shows_the_table(
    trained: Path,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(TERMINAL_COLUMNS))
    monkeypatch.setattr(plan, "TABLES", {"table2": ROWS})
    names = {name: getattr(subprocess, name) for name in ("DEVNULL", "STDOUT", "TimeoutExpired")}
    monkeypatch.setattr(jobs, "subprocess", SimpleNamespace(Popen=ForkedCommand, **names))
    monkeypatch.setattr(jobs, "_POLL_S", 0.02)
    # The same arithmetic on every CPU.
    command = [
        "table2",
        "--smoke",
        "--seeds",
        "1",
        "--jobs",
        "2",
        "--data",
        str(data_dir),
        "--weights",
        str(trained),
        "--out",
        str(tmp_path / "out"),
        "--set",
        "bf16=false",
        "--judge",
        "--quick --short 1 --short-seconds 2 --long 0 --wrong-audio 0",
    ]
    assert main(command) == 0, _logs(tmp_path)
    text = (tmp_path / "out" / "table2.md").read_text()
    shown = _tables(capsys.readouterr().out)
    lines = [line for line in shown.splitlines() if line[:1] in "┏┃┡│└"]
    assert 0 < max(map(len, lines)) <= TERMINAL_COLUMNS
    for row in ROWS:
        assert text.count(f"| {row.title} |") >= 2, "measures and cost"
        assert shown.count(f"│ {row.title} ") >= 2, "and on the terminal"
    assert (tmp_path / "out" / "table2.png").stat().st_size > 1000
    assert "FPS" not in text

    # Reports are enough to show the tables again, long after the students are gone.
    shutil.rmtree(tmp_path / "out" / "runs")
    for student in (tmp_path / "out" / "weights").glob("table2*"):
        shutil.rmtree(student)
    (tmp_path / "out" / "runs").mkdir()
    assert main(command) == 0, "all is there"
    assert _tables(capsys.readouterr().out) == shown
    assert (tmp_path / "out" / "table2.md").read_text() == text
    assert not list((tmp_path / "out" / "runs").iterdir())
    assert main([*command[:-2], "--judge=--quick"]) == 2
    assert "different settings" in capsys.readouterr().err


def _tables(output: str) -> str:
    """What stands between the name of the table and the place of its file."""
    return output.partition("\ntable2\n")[2].partition("written to")[0]


def _logs(folder: Path) -> str:
    return "\n".join(path.read_text() for path in (folder / "out" / "runs").glob("*.log"))
