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
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    option: str, value: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "capacity", option, value]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
