"""The evaluation's command line: counts, sizes and clear refusals."""

import sys
from pathlib import Path

import pytest

from training.evaluate.__main__ import FULL, QUICK, main, parse


def test_quick_and_full_fill_what_was_not_given() -> None:
    full = parse(["--weights", "w"])
    quick = parse(["--weights", "w", "--quick"])
    assert (full.short, full.long, full.short_seconds) == (FULL.short, FULL.long, 8.0)
    assert (quick.short, quick.long, quick.short_seconds) == (QUICK.short, 0, 5.0)
    mixed = parse(["--weights", "w", "--quick", "--short", "2", "--long", "1"])
    assert (mixed.short, mixed.long, mixed.wrong_audio) == (2, 1, QUICK.wrong_audio)


def test_data_folders_add_up() -> None:
    assert parse(["--weights", "w", "--data", "a", "--data", "b"]).data == [Path("a"), Path("b")]
    assert parse(["--weights", "w"]).data == []


@pytest.mark.parametrize("extra", [["--probes", "nowhere/p.safetensors"], ["--vae-only"]])
def test_missing_files_are_one_line_and_exit_code_2(
    extra: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights, out = tmp_path / "absent", tmp_path / "out"
    command = ["evaluate", "--weights", str(weights), "--out", str(out), "--vae-only", *extra]
    monkeypatch.setattr(sys, "argv", command)
    assert main() == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert str(weights) in lines[0] or "nowhere" in lines[0]
    assert not out.exists()
