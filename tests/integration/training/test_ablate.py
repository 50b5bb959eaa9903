"""``python -m training.ablate``: from a teacher to the table, once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_command_trains_judges_and_shows_the_table(
    trained: Path, data_dir: Path, tmp_path: Path
) -> None:
    judge = "--quick --short 1 --short-seconds 2 --long 0 --wrong-audio 0"
    command = [
        sys.executable, "-m", "training.ablate", "table2", "--smoke", "--seeds", "1",
        "--jobs", "2", "--data", str(data_dir), "--weights", str(trained),
        "--out", str(tmp_path / "out"), "--judge", judge,
    ]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert shown.returncode == 0, shown.stderr + shown.stdout
    text = (tmp_path / "out" / "table2.md").read_text()
    assert text.strip() in shown.stdout
    for title in ("K = 1", "K = 1, equal time", "K = 3", "K = 5", "random 1..5"):
        assert text.count(f"| {title} |") >= 2, "measures and cost"
    assert (tmp_path / "out" / "table2.png").stat().st_size > 1000
    assert "FPS" not in text
    again = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0, "all is there"
    assert text.strip() in again.stdout
    other = subprocess.run(
        [*command, "--set", "steps=2"], capture_output=True, text=True, timeout=60
    )  # fmt: skip
    assert other.returncode == 2
    assert "other settings" in other.stderr
