"""Draws the dashboard's main panels as a PNG, from the series of a Prometheus.

Usage: python -m scripts.draw_dashboard --prometheus http://127.0.0.1:9090 --minutes 5 --out P.png
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flashtalk.errors import InputError
from flashtalk.terminal import OneLineParser, guarded
from scripts.dashboards.links import JOBS, WINDOW
from scripts.dashboards.panels import Json, filled
from scripts.dashboards.process_rows import process_rows
from scripts.dashboards.stream_rows import stream_rows
from scripts.prometheus_server import Prometheus, Series

MAIN = (
    "Cycle of a chunk by stage",
    "Cycle of a chunk",
    "Real-time factor",
    "Time to first frame",
    "Lateness of chunks",
    "Frames and chunks per second",
    "Stages as workers compute them, p95",
    "Sessions and slots",
    "Memory",
)
_COLUMNS = 3
_POINTS = 120
_HEADROOM = 1.35
_UNITS = {"s": "seconds", "bytes": "MiB", "short": ""}
_MIB = 2**20
_MOST_MINUTES = 1_440


def panels(titles: Sequence[str]) -> list[Json]:
    """Returns the dashboard's panels with these titles, in this order."""
    found = {
        panel["title"]: panel for row in (*stream_rows(), *process_rows()) for panel in row.panels
    }
    return [found[title] for title in titles]


def draw(asked: Prometheus, begin_s: float, end_s: float, file: Path) -> None:
    """Writes the picture.

    Args:
        asked: whose series are drawn.
        begin_s, end_s: Unix seconds.
        file: a PNG; its folder exists.

    Raises:
        ServerError: a query was refused.
    """
    mpl.rcParams.update({"font.size": 8, "axes.titlesize": 9, "svg.hashsalt": "flashtalk"})
    rows = math.ceil(len(MAIN) / _COLUMNS)
    figure = Figure(figsize=(13, 2.8 * rows), dpi=90, layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, sharex=True, squeeze=False)
    for axes, panel in zip(grid.flat, panels(MAIN), strict=False):
        _draw_panel(axes, panel, asked, begin_s, end_s)
    for axes in grid[-1]:
        axes.set_xlabel("minutes")
    figure.savefig(file, metadata={"Software": None})


def _draw_panel(axes: Axes, panel: Json, asked: Prometheus, begin_s: float, end_s: float) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    scale = _MIB if defaults["unit"] == "bytes" else 1
    step_s = max(1.0, (end_s - begin_s) / _POINTS)
    at_s = np.arange(begin_s, end_s, step_s)
    lines: dict[str, Any] = {}
    for target in panel["targets"]:
        expr = filled(target["expr"], jobs=JOBS, window=WINDOW)
        for series in asked.query_range(expr, begin_s, end_s, step_s):
            lines[_name(target["legendFormat"], series)] = _on(at_s, step_s, series) / scale
    minutes = (at_s - begin_s) / 60
    if defaults["custom"]["stacking"]["mode"] == "normal":
        layers = [np.nan_to_num(line) for line in lines.values()]
        if layers:
            axes.stackplot(minutes, *layers, labels=list(lines), alpha=0.8)
    else:
        for name, line in lines.items():
            axes.plot(minutes, line, label=name, linewidth=1.2)
    limits = [step["value"] for step in defaults["thresholds"]["steps"] if step["value"]]
    for limit in limits:
        axes.axhline(limit, color="tab:red", linewidth=1, linestyle="--")
    axes.set_title(panel["title"])
    axes.set_ylabel(_UNITS[defaults["unit"]])
    axes.set_ylim(0, _HEADROOM * axes.get_ylim()[1])  # the legend hides no line
    axes.grid(alpha=0.3)
    if lines:
        axes.legend(loc="upper right", fontsize=7, ncols=3)


def _on(at_s: np.ndarray[Any, Any], step_s: float, series: Series) -> np.ndarray[Any, Any]:
    """Returns the values at these times; NaN where a value is missing."""
    line = np.full(len(at_s), np.nan)
    for moment_s, value in series.points:
        place = round((moment_s - float(at_s[0])) / step_s)
        if 0 <= place < len(line):
            line[place] = value
    return line


def _name(legend: str, series: Series) -> str:
    """Returns the legend text as in Grafana, without labels that are equal on one machine."""
    labels = {name: value.removeprefix("flashtalk-") for name, value in series.labels.items()}
    shown = legend.replace(" {{instance}}", "")
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), shown)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 for bad input."""
    parser = OneLineParser(prog="python -m scripts.draw_dashboard", description=__doc__)
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="(%(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=5.0, help="minutes up to now to draw (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    options = parser.parse_args(arguments)
    if not 0 < options.minutes <= _MOST_MINUTES:
        raise InputError("minutes", options.minutes, f"above 0, at most {_MOST_MINUTES}")
    asked = Prometheus(options.prometheus)
    end_s = asked.now_s()
    draw(asked, end_s - 60 * options.minutes, end_s, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(guarded("scripts.draw_dashboard", main))
