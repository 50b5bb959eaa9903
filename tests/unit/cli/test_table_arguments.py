"""What `flashtalk bench table4`, `cycle` and `stream` refuse: in one line, with exit code 2."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from flashtalk.cli.main import main

PIPELINE = [
    (["--preset", "huge"], "preset: huge: one of tiny, flashtalk-14b"),
    (["--preset", "flashtalk-14b"], "weights: none given"),
    (["--size", "100x64"], "width: 100"),
    (["--device", "cuda:7"], "device: cuda:7"),
    (["--precision", "fp8", "--device", "cpu"], "precision: fp8: a CUDA device of compute"),
    (["--threads", "0"], "threads: 0"),
    (["--warmup", "-1"], "warmup: -1"),
]


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["bench", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("table", ["table4", "cycle"])
@pytest.mark.parametrize(("words", "says"), PIPELINE, ids=lambda value: str(value)[:30])
def test_of_both_tables(
    table: str, words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.json"
    assert says in refused([table, *words, "--out", str(out)], capsys)
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--ranks", "1,two"], "ranks: 1,two: comma-separated integers"),
        (["--ranks", "1,64"], "ranks: 64: at most"),
        (["--repeats", "0"], "repeats: 0"),
        (["--out", "/dev/null/a.json"], "out: /dev/null/a.json"),
    ],
)
def test_of_table4(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert says in refused(["table4", "--device", "cpu", *words], capsys)


@pytest.mark.parametrize(
    ("words", "says"),
    [(["--steps", "0"], "steps: 0"), (["--chunks", "0"], "chunks: 0")],
)
def test_of_cycle(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert says in refused(["cycle", "--device", "cpu", *words], capsys)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--sessions", "0"], "sessions: 0"),
        (["--warmup", "0"], "warmup: 0"),
        (["--chunks", "0"], "chunks: 0"),
        (["--patience", "0"], "patience: 0"),
        (["--gateway", "nowhere"], "nowhere"),
        (["--image", "none.png"], "none.png"),
    ],
)
def test_of_stream(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in refused(["stream", "--out", str(tmp_path / "a.json"), *words], capsys)


def test_a_chart_needs_matplotlib(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    words = ["table4", "--device", "cpu", "--out", str(tmp_path / "a.json")]
    assert "--no-chart" in refused(words, capsys)
