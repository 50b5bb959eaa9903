"""``flashtalk bench capacity``: what it prints, writes and refuses."""

import json
from pathlib import Path

import pytest

from flashtalk.cli.main import main


def test_tables_and_json_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "capacity.json"
    assert main(["bench", "capacity", "--sessions", "4", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    found = json.loads(out.read_text())
    assert found["modelled"] is True
    assert [row["ranks"] for row in found["ranks"]] == [1, 2, 4, 5, 8]
    assert found["ranks"][0]["step_ms"] == 800
    assert f"{found['ranks'][-1]['cycle_ms']:.0f}" in printed
    assert found["fleets"][0]["devices"] == min(plan["devices"] for plan in found["fleets"])
    assert "modelled" in printed


@pytest.mark.parametrize(
    ("preset", "size", "chunk_ms", "ranks"),
    [
        ("flashtalk-14b", "720x416", 1_120, [1, 2, 4, 5, 8]),
        ("flashhead-1.3b", "512x512", 1_120, [1, 2, 3, 4, 6]),
        ("flashhead-1.3b-lite", "512x512", 960, [1, 2, 3, 4, 6]),
    ],
)
def test_every_preset_is_planned_in_its_own_numbers(
    preset: str,
    size: str,
    chunk_ms: int,
    ranks: list[int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "capacity.json"
    assert main(["bench", "capacity", "--preset", preset, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    found = json.loads(out.read_text())
    assert (found["preset"], found["size"]) == (preset, size)
    assert [row["ranks"] for row in found["ranks"]] == ranks
    for row in found["ranks"]:
        assert row["cycle_ms"] / row["real_time_factor"] == pytest.approx(chunk_ms)
    assert f"{preset}, {size}, modelled" in printed
    flat = " ".join(printed.split())
    assert "not measured by this project" in flat
    assert found["source"] in flat
    assert all(len(line) <= 80 for line in printed.splitlines() if str(out) not in line)


def test_the_source_says_which_times_were_given(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "capacity", "--preset", "flashhead-1.3b", "--step-ms", "90"]
    assert main([*words, "--decode-ms", "100"]) == 0
    flat = " ".join(capsys.readouterr().out.split())
    assert "--step-ms, --decode-ms as given; the others: the authors' claim" in flat
    for name in ("decode", "encode", "audio", "other"):
        words += [f"--{name}-ms", "5"]
    assert main(words) == 0
    flat = " ".join(capsys.readouterr().out.split())
    assert "as given." in flat
    assert "claim" not in flat


def test_devices_that_are_too_slow_keep_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "capacity", "--step-ms", "9000"]) == 0
    assert "no pod within one host reaches real time" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--sessions", "0", "sessions: 0: 1 .. 100000"),
        ("--step-ms", "0", "step_ms: 0.0: above 0"),
        ("--exchange-us", "-1", "exchange_us: -1.0: at least 0"),
        ("--steps", "0", "steps: 0: at least 1"),
        ("--busy-share", "2", "busy share: 2.0: above 0, at most 1"),
        ("--size", "720x417", "417"),
        ("--preset", "tiny", "preset: tiny: one of flashtalk-14b, flashhead-1.3b, flashhead-1.3b-"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    option: str, value: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "capacity", option, value]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--windows"], "windows: flashhead-1.3b-lite: a preset whose VAE runs on several ranks"),
        (["--size", "720x416"], "must be a positive multiple of 32"),
    ],
)
def test_what_lite_cannot_do_is_refused(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "capacity", "--preset", "flashhead-1.3b-lite", *words]) == 2
    assert says in capsys.readouterr().err
