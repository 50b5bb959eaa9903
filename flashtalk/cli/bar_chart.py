"""A bar chart of stages with the machine's limits, as a PNG.

matplotlib is imported in the function: it belongs to the command line, not to services.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from flashtalk.errors import InputError

_WIDTH_INCHES, _ROW_INCHES, _FRAME_INCHES, _DPI = 8.0, 0.42, 1.5, 120
_BAR, _LIMIT, _TEXT = "#3b6ea5", "#c8553d", "#222222"


@dataclass(frozen=True)
class Bar:
    """A row of the chart.

    Args:
        name: of the stage.
        ms: its median.
        p95_ms: 95th percentile of its times.
        limit_ms: minimum time on this machine; ``None`` if no limit is known.
    """

    name: str
    ms: float
    p95_ms: float
    limit_ms: float | None = None


def check_chart(path: Path | None) -> None:
    """Raises InputError if no chart can be drawn, before anything is measured."""
    if path is not None and importlib.util.find_spec("matplotlib") is None:
        limit = "needs matplotlib: pip install 'flashtalk[cli]', or use --no-chart"
        raise InputError("chart", path, limit)


def draw_bars(bars: list[Bar], title: str, path: Path) -> None:
    """Draws the chart.

    Args:
        bars: from top to bottom.
        title: one or two lines.
        path: of the PNG.

    Raises:
        InputError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = _FRAME_INCHES + _ROW_INCHES * len(bars)
    figure = Figure(figsize=(_WIDTH_INCHES, height), dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = list(range(len(bars)))
    spans = [max(0.0, bar.p95_ms - bar.ms) for bar in bars]
    axes.barh(places, [bar.ms for bar in bars], color=_BAR, height=0.62, label="median")
    axes.errorbar(
        [bar.ms for bar in bars],
        places,
        xerr=[[0.0] * len(bars), spans],
        fmt="none",
        ecolor=_TEXT,
        capsize=3,
        elinewidth=1,
        label="95th percentile",
    )
    limits = [
        (bar.limit_ms, place)
        for bar, place in zip(bars, places, strict=True)
        if bar.limit_ms is not None
    ]
    if limits:
        axes.plot(
            [ms for ms, _ in limits],
            [place for _, place in limits],
            linestyle="none",
            marker="|",
            markersize=16,
            markeredgewidth=2.5,
            color=_LIMIT,
            label="limit of this machine",
        )
    for bar, place in zip(bars, places, strict=True):
        axes.annotate(
            f"{bar.ms:.3g}",
            (max(bar.ms, bar.p95_ms), place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=_TEXT,
        )
    axes.set_yticks(places, [bar.name for bar in bars], fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel("milliseconds")
    axes.set_title(title, fontsize=10, loc="left", color=_TEXT)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside lower right", ncols=3, fontsize=8, frameon=False)
    try:
        canvas.print_png(str(path))  # type: ignore[no-untyped-call]
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError("chart", path, f"not writable ({reason})") from error
