"""The report says the same in every form, and its pictures can be opened."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence
from rich.console import Console

from training.evaluate.pictures import (
    contact_sheet,
    drift_plot,
    gif,
    lip_plot,
    sheet_frames,
    side_by_side,
)
from training.evaluate.report import Column, Report, Table, TargetResult


@pytest.fixture
def report() -> Report:
    table = Table(
        "Short clips",
        (Column("lip_corr", "LipCorr"), Column("fps", "fps", 1)),
        {"truth": {"lip_corr": 0.99}, "generated": {"lip_corr": 0.771, "fps": float("nan")}},
    )
    targets = (
        TargetResult("LipCorr", 0.771, low=0.75),
        TargetResult("border ratio", 1.5, high=1.3),
        TargetResult("dynamic ratio", float("nan"), 0.5, 1.5),
    )
    return Report((table,), targets, {"seed": 3}, {"bg": {"generated": [30.0, math.inf]}})


def test_json_is_strict_and_complete(report: Report) -> None:
    def reject(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    document = json.loads(report.to_json(), parse_constant=reject)
    assert document["tables"]["Short clips"]["generated"] == {"lip_corr": 0.771, "fps": None}
    assert [t["met"] for t in document["targets"]] == [True, False, False]
    assert document["curves"]["bg"]["generated"] == [30.0, None]
    assert document["settings"] == {"seed": 3}


def test_markdown_has_one_cell_per_column(report: Report) -> None:
    lines = [line for line in report.to_markdown().splitlines() if line.startswith("|")]
    assert lines[0] == "|  | LipCorr | fps |"
    assert lines[2] == "| truth | 0.99 |  |"
    assert lines[3] == "| generated | 0.77 | n/a |"
    assert "| LipCorr | 0.77 | >= 0.75 | met |" in lines
    assert "| border ratio | 1.50 | <= 1.3 | missed |" in lines
    assert "| dynamic ratio | n/a | 0.5 .. 1.5 | missed |" in lines


def test_terminal_shows_rows_and_verdicts(report: Report) -> None:
    console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
    report.print(console)
    text = console.export_text()
    assert "generated" in text
    assert text.count("missed") == 2


def test_written_files_hold_both_forms(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path)
    assert (tmp_path / "report.json").read_text() == report.to_json()
    assert (tmp_path / "report.md").read_text() == report.to_markdown()


def test_contact_sheet_shows_the_asked_frames(tmp_path: Path) -> None:
    ramp = np.arange(40, dtype=np.uint8)[:, None, None, None]
    video = np.broadcast_to(ramp * 5, (40, 16, 16, 3)).copy()
    contact_sheet(
        tmp_path / "s.png",
        {"a": video, "b": dict(enumerate(255 - video))},
        sheet_frames(40, columns=4, step_frames=8),
        zoom=2,
    )
    sheet = np.asarray(Image.open(tmp_path / "s.png"))
    colours = {tuple(c) for c in sheet.reshape(-1, 3)}
    for frame in (0, 8, 16, 24):
        assert (frame * 5,) * 3 in colours
        assert (255 - frame * 5,) * 3 in colours
    assert (32 * 5,) * 3 not in colours


def test_contact_sheet_stops_at_the_shortest_video(tmp_path: Path) -> None:
    short, long = np.zeros((5, 8, 8, 3), np.uint8), np.zeros((50, 8, 8, 3), np.uint8)
    contact_sheet(tmp_path / "short.png", {"a": short, "b": long}, sheet_frames(5, columns=10))
    contact_sheet(tmp_path / "long.png", {"a": long, "b": long}, sheet_frames(50, columns=10))
    widths = [Image.open(tmp_path / n).width for n in ("short.png", "long.png")]
    assert widths[0] < widths[1]


def test_gif_plays_at_the_videos_speed(tmp_path: Path) -> None:
    video = np.random.default_rng(0).integers(0, 255, (25, 16, 16, 3), np.uint8)
    size = gif(tmp_path / "v.gif", video, every=2)
    with Image.open(tmp_path / "v.gif") as made:
        durations = [page.info["duration"] for page in ImageSequence.Iterator(made)]
        assert made.size == (32, 32)
    assert size == (tmp_path / "v.gif").stat().st_size
    assert sum(durations) == pytest.approx(1000, abs=80)


def test_static_background_makes_a_small_gif(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (50, 32, 32, 3), np.uint8)
    still = np.repeat(noise[:1], 50, axis=0)
    still[:, 10:14, 10:14] = noise[:, 10:14, 10:14]
    assert gif(tmp_path / "s.gif", still) < 0.3 * gif(tmp_path / "n.gif", noise)


def test_side_by_side_keeps_both(tmp_path: Path) -> None:
    a, b = np.zeros((4, 8, 8, 3), np.uint8), np.full((6, 8, 8, 3), 9, np.uint8)
    joined = side_by_side([a, b], gap_px=2)
    assert joined.shape == (4, 8, 18, 3)
    assert (joined[:, :, :8] == 0).all()
    assert (joined[:, :, 10:] == 9).all()


def test_plots_are_pictures(tmp_path: Path) -> None:
    t = np.linspace(0, 1, 50)
    lip_plot(tmp_path / "l.png", t, {"x": t, "y": 1 - t}, title="t", silent_T=t < 0.2)
    drift_plot(
        tmp_path / "d.png", {"bg": {"x": [1.0, 2.0]}, "id": {"x": [0.1]}}, seconds_per_chunk=1.12
    )
    for name in ("l.png", "d.png"):
        assert np.asarray(Image.open(tmp_path / name)).std() > 5
