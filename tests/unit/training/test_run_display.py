"""What a run shows without a terminal."""

import io

import pytest
from rich.console import Console

from training.core.progress import RunProgress, track


def test_without_a_terminal_a_line_comes_at_each_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr("training.core.progress.time.monotonic", lambda: float(next(clock)))
    out = io.StringIO()
    with RunProgress("job", console=Console(file=out, width=200)) as shown:
        for step in range(1, 11):
            shown.update(step, step / 10, {"loss": 0.5})
    lines = out.getvalue().splitlines()
    assert 2 <= len(lines) < 10  # every 10 s of 40, not every step
    assert all("loss 0.5" in line and "it/s" in line and "eta" in line for line in lines)


def test_track_hands_on_every_item() -> None:
    assert list(track("job", "abc", 3)) == ["a", "b", "c"]
