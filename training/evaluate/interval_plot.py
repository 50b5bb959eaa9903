"""Picture of a comparison: one panel per measure, one line with bounds per model."""

import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.evaluate.comparison import SUBSETS, Comparison
from training.evaluate.talkbench import COLUMNS, WITHOUT_INTERVAL

_COLUMNS = 4
_COLOURS = dict(zip(SUBSETS, ("tab:blue", "tab:orange"), strict=True))


def interval_plot(path: Path, found: Comparison) -> None:
    """Writes a PNG; short clips blue, long streams orange, the arrow shows the better side."""
    filled = {measure for rows in found.values.values() for row in rows.values() for measure in row}
    shown = [c for c in COLUMNS if c.key in filled and c.key not in WITHOUT_INTERVAL]
    rows = -(-len(shown) // _COLUMNS)
    height = rows * (0.9 + 0.28 * len(found.names)) + 0.5
    figure = Figure(figsize=(12, height), layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False, sharey=True)
    for axis, column in zip(grid.flat, shown, strict=False):
        for subset in found.values:
            _panel(axis, found, subset, column.key)
        axis.set_title(column.heading, fontsize=10)
        axis.grid(axis="x", alpha=0.3)
        axis.tick_params(labelsize=8)
    for axis in grid.flat[len(shown) :]:
        axis.set_visible(False)
    grid[0, 0].set_yticks(range(len(found.names)), found.names)
    grid[0, 0].set_ylim(len(found.names) - 0.5, -0.5)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    for axis in grid.flat:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            if label not in labels:
                handles.append(handle)
                labels.append(label)
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=9)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=90)


def _panel(axis: Axes, found: Comparison, subset: str, measure: str) -> None:
    shift = 0.12 * (list(SUBSETS).index(subset) - 0.5) * 2
    label: str | None = SUBSETS[subset]
    for place, name in enumerate(found.names):
        number = found.values[subset][name].get(measure)
        if number is None or not math.isfinite(number.value):
            continue
        y = place + shift
        if math.isfinite(number.low):
            axis.plot(
                [number.low, number.high], [y, y], color=_COLOURS[subset], linewidth=2, alpha=0.5
            )
        axis.plot([number.value], [y], "o", color=_COLOURS[subset], markersize=5, label=label)
        label = None
