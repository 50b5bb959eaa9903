"""Several models on the same clips: one table with intervals, and significant differences.

A model may have been trained several times (seeds): give several reports under one name.

Legend: S training seeds, V videos.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flashtalk.errors import InputError
from training.evaluate.bootstrap import Interval, difference, interval
from training.evaluate.summary import GENERATED
from training.evaluate.talkbench import COLUMNS, LONG, SHORT, TITLE, WITHOUT_INTERVAL

# Must be equal for two reports on the same videos.
_SAME = ("split", "size", "seed", "seconds, short", "seconds, long")
SUBSETS = {SHORT: "Short clips", LONG: "Long streams"}
REPORT_FILE = "report.json"


@dataclass(frozen=True)
class ModelReports:
    """The reports of one model, one per training seed."""

    name: str
    reports: tuple[Mapping[str, Any], ...]

    def has(self, row: str) -> bool:
        """Whether every seed has that row."""
        return all(row in report["tables"][TITLE] for report in self.reports)

    def value(self, row: str, measure: str) -> float:
        """Returns the mean over the seeds; NaN if one of them has no number."""
        found = [report["tables"][TITLE][row].get(measure) for report in self.reports]
        return float(np.mean([math.nan if v is None else v for v in found]))

    def shares(self, row: str, measure: str) -> list[list[float]]:
        """Returns the contribution of every video of every seed, [S][V]."""
        rows = [report["videos"][row]["shares"].get(measure, []) for report in self.reports]
        return [[math.nan if v is None else v for v in row] for row in rows]

    def clips(self, row: str) -> list[str]:
        """Returns the names of the videos."""
        names: list[str] = self.reports[0]["videos"][row]["clips"]
        return names


@dataclass(frozen=True)
class Comparison:
    """``values[subset][name][measure]`` and the same for the differences to the first name."""

    names: tuple[str, ...]
    seeds: Mapping[str, int]
    values: Mapping[str, Mapping[str, Mapping[str, Interval]]]
    differences: Mapping[str, Mapping[str, Mapping[str, Interval]]]

    def to_json(self) -> str:
        """Returns JSON with null for unknown values."""

        def plain(part: Mapping[str, Mapping[str, Mapping[str, Interval]]]) -> object:
            return {
                subset: {
                    name: {m: _triple(i) for m, i in row.items()} for name, row in rows.items()
                }
                for subset, rows in part.items()
            }

        document = {
            "names": self.names,
            "seeds": dict(self.seeds),
            "values": plain(self.values),
            "differences": plain(self.differences),
        }
        return json.dumps(document, indent=2) + "\n"

    def to_markdown(self) -> str:
        """Returns a table per subset; below it the differences, bold if the interval excludes 0."""
        parts = []
        for subset, rows in self.values.items():
            parts.append(f"### {SUBSETS[subset]}\n\n{_table(rows, self.seeds, bold=False)}")
            if self.differences.get(subset):
                lines = _table(self.differences[subset], self.seeds, bold=True)
                parts.append(f"{SUBSETS[subset]}, difference to {self.names[0]}:\n\n{lines}")
        parts.append(
            "Square brackets: 95 % bootstrap over videos and training seeds. Bold: the "
            "interval of the difference excludes 0."
        )
        return "\n\n".join(parts) + "\n"


def read_report(path: Path) -> Mapping[str, Any]:
    """Reads ``report.json`` or the folder that contains it.

    Raises:
        InputError: no such file, or written by an older version.
    """
    file = path / REPORT_FILE if path.is_dir() else path
    if not file.is_file():
        raise InputError("report", path, "must be a report.json or a folder that contains one")
    document: Mapping[str, Any] = json.loads(file.read_text())
    if "videos" not in document or TITLE not in document.get("tables", {}):
        raise InputError("report", path, f"has no table {TITLE}; evaluate again")
    return document


def compare(
    entries: Sequence[ModelReports],
    *,
    kind: str = GENERATED,
    resamples: int = 2000,
    without: Sequence[str] = (),
) -> Comparison:
    """Compares all entries' rows of one ``kind``, ``without`` some measures.

    Raises:
        InputError: nothing to compare, or reports of different clips, lengths, sizes or seeds.
    """
    if not entries:
        raise InputError("reports", 0, "at least 1")
    _check_settings(entries)
    values: dict[str, dict[str, dict[str, Interval]]] = {}
    differences: dict[str, dict[str, dict[str, Interval]]] = {}
    for subset in SUBSETS:
        row = f"{subset}: {kind}"
        if not all(entry.has(row) for entry in entries):
            continue
        first = entries[0]
        _check_clips(entries, row)
        measures = [
            c.key
            for c in COLUMNS
            if c.key not in without and any(math.isfinite(e.value(row, c.key)) for e in entries)
        ]
        values[subset] = {
            entry.name: {m: _own(entry, row, m, resamples) for m in measures} for entry in entries
        }
        differences[subset] = {
            entry.name: {
                m: _less(entry, first, row, m, resamples)
                for m in measures
                if m not in WITHOUT_INTERVAL
            }
            for entry in entries[1:]
        }
    if not values:
        raise InputError("kind", kind, "must be a row of all reports")
    seeds = {entry.name: len(entry.reports) for entry in entries}
    return Comparison(tuple(entry.name for entry in entries), seeds, values, differences)


def _own(entry: ModelReports, row: str, measure: str, resamples: int) -> Interval:
    value = entry.value(row, measure)
    if measure in WITHOUT_INTERVAL or not math.isfinite(value):
        return Interval(value, math.nan, math.nan)
    return interval(value, entry.shares(row, measure), resamples=resamples)


def _less(
    entry: ModelReports, first: ModelReports, row: str, measure: str, resamples: int
) -> Interval:
    value = entry.value(row, measure) - first.value(row, measure)
    if not math.isfinite(value):
        return Interval(value, math.nan, math.nan)
    shares, other = entry.shares(row, measure), first.shares(row, measure)
    return difference(value, shares, other, resamples=resamples)


def _check_settings(entries: Sequence[ModelReports]) -> None:
    reference = entries[0].reports[0]["settings"]
    for entry in entries:
        for report in entry.reports:
            for name in _SAME:
                found, wanted = report["settings"].get(name), reference.get(name)
                if found != wanted:
                    raise InputError(
                        f"{entry.name}: {name}", found, f"must be {wanted}, as in the first report"
                    )


def _check_clips(entries: Sequence[ModelReports], row: str) -> None:
    wanted = entries[0].clips(row)
    for entry in entries:
        for report in entry.reports:
            found = report["videos"][row]["clips"]
            if found != wanted:
                raise InputError(
                    f"{entry.name}: clips",
                    len(found),
                    f"must be the {len(wanted)} clips of the first report",
                )


def _triple(found: Interval) -> list[float | None]:
    numbers = (found.value, found.low, found.high)
    return [value if math.isfinite(value) else None for value in numbers]


def _table(
    rows: Mapping[str, Mapping[str, Interval]], seeds: Mapping[str, int], *, bold: bool
) -> str:
    filled = set().union(*rows.values())
    columns = [column for column in COLUMNS if column.key in filled]
    lines = [["", *(column.heading for column in columns)], ["---"] + ["---:"] * len(columns)]
    for name, row in rows.items():
        title = f"{name} ({seeds[name]} seeds)" if seeds[name] > 1 else name
        lines.append([title, *(_cell(row[c.key], c.digits, bold=bold) for c in columns)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(found: Interval, digits: int, *, bold: bool) -> str:
    if not math.isfinite(found.value):
        return "n/a"
    sign = "+" if bold else ""
    text = f"{found.value:{sign}.{digits}f}"
    if math.isfinite(found.low):
        text += f" [{found.low:{sign}.{digits}f}, {found.high:{sign}.{digits}f}]"
    return f"**{text}**" if bold and found.excludes_zero else text
