"""Results of a continuous stream: figures, curves, and the frames at the marks, as files.

Legend: H W pixels.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from flashtalk.arrays import Rgb

_INK, _PAPER, _GAP_PX, _HEAD_PX = (30, 30, 30), (250, 250, 250), 6, 24
_CELL_PX = 288
NAMES = {
    "lip_corr": "LipCorr",
    "sync_c": "Sync-C",
    "sync_d": "Sync-D",
    "sync_c_own": "Sync-C own",
    "sync_d_own": "Sync-D own",
    "identity": "ID distance",
    "background_db": "background, dB",
    "colour": "colour error, dE",
    "sharpness": "sharpness",
    "patched": "patched, %",
    "temporal_f": "Temporal-F",
    "ase": "ASE",
    "iqa": "IQA",
    "id_c": "ID-C",
    "bg_pixel_c": "BG-pixel",
    "motion_linear": "Motion-lin",
    "subject_c": "Subject-C",
    "bg_c": "BG-C",
    "motion_s": "Motion-S",
    "sync_offset": "offset",
    "sync_offset_own": "offset own",
}
_DRAWN = (
    "lip_corr",
    "sync_c",
    "sync_d",
    "sync_c_own",
    "sync_d_own",
    "identity",
    "background_db",
    "colour",
    "sharpness",
    "patched",
    "temporal_f",
    "ase",
    "iqa",
)


@dataclass(frozen=True)
class Course:
    """One value per block and measure, its slope per 100 s, and the kept frames by second."""

    seconds_per_block: float
    curves: Mapping[str, Sequence[float]]
    slopes: Mapping[str, float]
    marks: Mapping[float, Rgb]
    frames: int


def write_course(course: Course, out: Path, settings: Mapping[str, object]) -> None:
    """Writes ``continuous.json``, ``continuous.md``, ``continuous.png`` (the curves) and
    ``continuous-sheet.png`` (the marks) to ``out``, which is created if missing."""
    out.mkdir(parents=True, exist_ok=True)
    _write(course, out, settings)
    _curves(course, out / "continuous.png")
    _sheet(course.marks, out / "continuous-sheet.png")


def _write(course: Course, out: Path, settings: Mapping[str, object]) -> None:
    """Writes ``continuous.json`` with every curve, ``continuous.md`` with ends and slopes."""
    facts = {**settings, "frames": course.frames, "seconds per block": course.seconds_per_block}
    document = {
        "settings": facts,
        "curves": {name: [_finite(v) for v in values] for name, values in course.curves.items()},
        "slope_per_100_s": {name: _finite(value) for name, value in course.slopes.items()},
    }
    text = json.dumps(document, indent=2, default=str) + "\n"
    (out / "continuous.json").write_text(text)
    rows = ["| | first block | last block | slope per 100 s |", "| --- | ---: | ---: | ---: |"]
    rows += [
        f"| {NAMES.get(name, name)} | {values[0]:.3f} | {values[-1]:.3f} "
        f"| {course.slopes[name]:+.4f} |"
        for name, values in course.curves.items()
    ]
    listed = "\n".join(f"- {key}: {value}" for key, value in facts.items())
    body = "\n".join(rows)
    (out / "continuous.md").write_text(f"### Continuous stream\n\n{body}\n\n### Run\n\n{listed}\n")


def _curves(course: Course, path: Path) -> None:
    shown = [name for name in _DRAWN if name in course.curves]
    rows = -(-len(shown) // 2)
    figure = Figure(figsize=(11, 1.9 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, 2, sharex=True, squeeze=False)
    for axis, name in zip(grid.flat, shown, strict=False):
        values = np.asarray(course.curves[name])
        middle_s = (np.arange(len(values)) + 0.5) * course.seconds_per_block
        axis.plot(middle_s, values, color="tab:red", linewidth=1.2, marker=".", markersize=3)
        axis.set_title(NAMES[name], fontsize=10, loc="left")
        slope = course.slopes[name]
        axis.set_title(f"{slope:+.3g} per 100 s", fontsize=9, loc="right", color="0.4")
        for mark in course.marks:
            axis.axvline(mark, color="0.85", linewidth=0.8, zorder=0)
        axis.grid(axis="y", alpha=0.3)
    for axis in grid.flat[len(shown) :]:
        axis.set_visible(False)
    for axis in grid[-1]:
        axis.set_xlabel("seconds")
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=90)


def _sheet(marks: Mapping[float, Rgb], path: Path) -> None:
    """Portrait and marks side by side; beneath them the faces, larger."""
    font = ImageFont.load_default(15)
    height, width = next(iter(marks.values())).shape[:2]
    scale = max(1, round(_CELL_PX / width))
    cell_w, cell_h = width * scale, height * scale
    face_px = round(0.5 * min(height, width))
    columns: Sequence[tuple[float, Rgb]] = sorted(marks.items())
    sheet = Picture.new(
        "RGB",
        (len(columns) * (cell_w + _GAP_PX) + _GAP_PX, _HEAD_PX + cell_h + cell_w + 2 * _GAP_PX),
        _PAPER,
    )
    pen = ImageDraw.Draw(sheet)
    for column, (mark, frame_HWC) in enumerate(columns):
        left = _GAP_PX + column * (cell_w + _GAP_PX)
        pen.text((left + 2, 3), f"{mark:g} s" if mark else "portrait", fill=_INK, font=font)
        whole = Picture.fromarray(frame_HWC)
        sheet.paste(whole.resize((cell_w, cell_h), Picture.Resampling.NEAREST), (left, _HEAD_PX))
        x, y = (width - face_px) // 2, round(0.48 * height - 0.42 * face_px)
        face = whole.crop((x, y, x + face_px, y + face_px))
        sheet.paste(
            face.resize((cell_w, cell_w), Picture.Resampling.NEAREST),
            (left, _HEAD_PX + cell_h + _GAP_PX),
        )
    sheet.save(path, optimize=True)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
