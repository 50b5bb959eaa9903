"""TalkBench's table tells the rows apart, and models are compared on the same videos only."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flashtalk.errors import InputError
from training.evaluate.compare import main, parse
from training.evaluate.comparison import ModelReports, compare, read_report
from training.evaluate.frechet import Looks
from training.evaluate.probes import MOUTH_OUTPUTS, POSE_OUTPUTS, Measurement
from training.evaluate.reading import Reading
from training.evaluate.report import Report
from training.evaluate.summary import GENERATED, TRUTH
from training.evaluate.talkbench import COLUMNS, talkbench_table

CHUNK = 28
SETTINGS = {
    "split": "test",
    "size": "96x96",
    "seed": 0,
    "seconds, short": 8.0,
    "seconds, long": 60.0,
}


def reading(
    clip: int, *, noise: float = 0.0, frozen: bool = False, drift: float = 0.0, sync: float = 0.6
) -> Reading:
    rng = np.random.default_rng(clip)
    frames = 6 * CHUNK
    openness = np.convolve(rng.random(frames), [0.25, 0.5, 0.25], "same").astype(np.float32)
    shown = openness + noise * rng.standard_normal(frames).astype(np.float32)
    moves = 0.0 if frozen else 1.0
    tracks = {
        n: (moves * rng.normal(size=frames)).astype(np.float32)
        for n in (*POSE_OUTPUTS, *MOUTH_OUTPUTS)
    }
    tracks["openness"] = np.full(frames, 0.4, np.float32) if frozen else shown
    chunk = np.arange(frames) / CHUNK
    portrait = rng.normal(size=12).astype(np.float32)
    hidden = rng.normal(size=(frames, 12)).astype(np.float32)
    hard = 0.05 * rng.standard_normal()
    scores = {
        "sync_c_own": sync + hard,
        "sync_d_own": 1 - sync / 2,
        "sync_offset_own": 0.0,
        "temporal_f": 100.0 if frozen else 99.0,
    }
    return Reading(
        clip=f"test {clip}",
        measured=Measurement(tracks, (portrait + drift * chunk[:, None]).astype(np.float32)),
        portrait_D=portrait,
        openness_T=openness,
        width_T=tracks["width"],
        silent_T=np.zeros(frames, bool),
        change_T=moves * np.ones(frames - 1),
        sharpness_T=5 - 0.1 * drift * chunk,
        background_db_T=40 - drift * chunk,
        colour_T=drift * chunk,
        patched_T=0.5 + drift * chunk,
        looks=Looks(portrait[None].repeat(frames, 0) + hidden, portrait + hidden),
        whole_db=30.0,
        mouth_db=30.0,
        wall_s=6.0,
        scores=scores,
    )


def report(
    out: Path,
    *,
    videos: int = 8,
    sync: float = 0.6,
    drift: float = 0.0,
    noise: float = 0.1,
    **settings: object,
) -> Path:
    truth = [reading(k) for k in range(videos)]
    made = [reading(k, sync=sync, drift=drift, noise=noise) for k in range(videos)]
    rows = {TRUTH: truth, GENERATED: made}
    table, shares = talkbench_table(rows, rows, chunk_frames=CHUNK)
    out.mkdir(parents=True, exist_ok=True)
    Report((table,), (), SETTINGS | settings, videos=shares).write(out)
    return out


def entry(name: str, *paths: Path) -> ModelReports:
    return ModelReports(name, tuple(read_report(path) for path in paths))


def test_truth_frozen_and_drifting_differ_in_the_right_columns() -> None:
    truth = [reading(k) for k in range(4)]
    long = {
        TRUTH: truth,
        "frozen": [reading(k, frozen=True) for k in range(4)],
        "drifting": [reading(k, drift=0.5) for k in range(4)],
    }
    table, videos = talkbench_table({}, long, chunk_frames=CHUNK)
    best, frozen, drifting = (table.rows[f"long: {name}"] for name in long)
    assert best["lip_corr"] == pytest.approx(1.0)
    assert best["dynamic"] == pytest.approx(1.0)
    assert frozen["lip_corr"] == 0.0
    assert frozen["dynamic"] == 0.0
    assert math.isnan(frozen["border"])
    assert frozen["temporal_f"] > best["temporal_f"]
    assert drifting["identity_slope"] == pytest.approx(0.5, rel=1e-3)
    assert drifting["background_db_slope"] == pytest.approx(-0.5, rel=1e-3)
    assert drifting["colour_slope"] > 0 > drifting["sharpness_slope"]
    assert best["identity_slope"] == pytest.approx(0, abs=1e-6)
    assert best["fps"] == pytest.approx(28.0)
    assert videos["long: frozen"].clips == tuple(f"test {k}" for k in range(4))
    low, high = table.intervals["long: drifting"]["sync_c_own"]
    assert low < drifting["sync_c_own"] < high
    assert "sync_offset_own" not in table.intervals["long: drifting"]


def test_only_filled_columns_are_shown() -> None:
    table, _ = talkbench_table({TRUTH: [reading(0)]}, {}, chunk_frames=CHUNK)
    shown = {column.key for column in table.columns}
    assert "ase" not in shown
    assert "identity_slope" not in shown
    assert {"sync_c_own", "lip_corr"} < shown <= {column.key for column in COLUMNS}
    # A single video has a value and no interval.
    assert "[" not in "".join(table.cells(f"short: {TRUTH}", with_intervals=True))


def test_a_better_model_is_better_for_sure_and_an_equal_one_is_not(tmp_path: Path) -> None:
    paths = {
        "base": report(tmp_path / "a"),
        "same": report(tmp_path / "b"),
        "worse": report(tmp_path / "c", sync=0.5, drift=0.2, noise=0.5),
    }
    found = compare([entry(name, path) for name, path in paths.items()])
    less = found.differences["long"]
    for measure in ("sync_c_own", "lip_corr", "identity_slope"):
        assert not less["same"][measure].excludes_zero
        assert less["worse"][measure].excludes_zero
    assert less["worse"]["sync_c_own"].value == pytest.approx(-0.1)
    assert less["worse"]["identity_slope"].low > 0
    text = found.to_markdown()
    assert "### Short clips" in text
    assert "### Long streams" in text
    assert "**-0.100 [" in text
    assert json.loads(found.to_json())["values"]["short"]["base"]["sync_c_own"][0] > 0.5


def test_training_seeds_are_averaged_and_counted(tmp_path: Path) -> None:
    seeds = [report(tmp_path / f"s{k}", sync=value) for k, value in enumerate((0.5, 0.6, 0.7))]
    found = compare([entry("model", *seeds)])
    one = compare([entry("model", seeds[1])])
    number, single = (c.values["short"]["model"]["sync_c_own"] for c in (found, one))
    assert number.value == pytest.approx(single.value)
    assert number.high - number.low > 1.5 * (single.high - single.low)
    assert "model (3 seeds)" in found.to_markdown()


def test_other_clips_settings_and_old_reports_are_refused(tmp_path: Path) -> None:
    base = entry("base", report(tmp_path / "a"))
    fewer = entry("fewer", report(tmp_path / "b", videos=5))
    with pytest.raises(InputError, match="fewer: clips"):
        compare([base, fewer])
    with pytest.raises(InputError, match="other: seed"):
        compare([base, entry("other", report(tmp_path / "c", seed=1))])
    with pytest.raises(InputError, match="kind"):
        compare([base], kind="nothing")
    with pytest.raises(InputError, match="reports"):
        compare([])
    (tmp_path / "report.json").write_text(json.dumps({"tables": {}}))
    with pytest.raises(InputError, match="TalkBench"):
        read_report(tmp_path)
    with pytest.raises(InputError, match="report"):
        read_report(tmp_path / "absent")


def test_the_command_writes_a_table_and_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = report(tmp_path / "a"), report(tmp_path / "b", sync=0.5)
    out = tmp_path / "out"
    models = [f"K=1={first}", f"random={second}", f"random={second / 'report.json'}"]
    assert main([*models, "--out", str(out), "--resamples", "100"]) == 2  # K=1=... is cut at K
    models[0] = f"K1={first}"
    assert main([*models, "--out", str(out), "--resamples", "100"]) == 0
    assert "random (2 seeds)" in (out / "compare.md").read_text()
    assert np.asarray(Image.open(out / "compare.png")).std() > 10
    assert main([str(first)]) == 2
    assert "NAME=PATH" in capsys.readouterr().err
    assert parse(["a=b", "--", "--short", "2"])[1] == ["--short", "2"]


def test_null_in_a_report_is_not_a_number(tmp_path: Path) -> None:
    frozen = [replace(reading(k, frozen=True)) for k in range(3)]
    rows = {TRUTH: [reading(k) for k in range(3)], GENERATED: frozen}
    table, shares = talkbench_table(rows, {}, chunk_frames=CHUNK)
    Report((table,), (), SETTINGS, videos=shares).write(tmp_path)
    found = compare([entry("frozen", tmp_path)])
    assert "border" not in found.values["short"]["frozen"]
