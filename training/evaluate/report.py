"""The evaluation as values: tables, targets, and their rich, markdown and JSON forms."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from training.evaluate.terminal_tables import print_table


@dataclass(frozen=True)
class Column:
    """One measure: ``key`` in the JSON, ``heading`` in tables, ``digits`` after the point."""

    key: str
    heading: str
    digits: int = 2


@dataclass(frozen=True)
class Table:
    """Named rows of measures; a row omits measures that do not apply to it."""

    title: str
    columns: tuple[Column, ...]
    rows: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)

    def cells(self, row: str, *, with_intervals: bool = False) -> list[str]:
        """Returns the row's values as text, in column order, optionally with 95 % intervals."""
        values = self.rows[row]
        bounds = self.intervals.get(row, {}) if with_intervals else {}
        return [
            _number(values.get(column.key), column.digits)
            + _bounds(bounds.get(column.key), column.digits)
            for column in self.columns
        ]


@dataclass(frozen=True)
class VideoValues:
    """The contribution of each video of a row to each measure (``bootstrap.pseudo_values``)."""

    clips: tuple[str, ...]
    shares: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class TargetResult:
    """A bound for the shipped model: ``low <= value <= high``."""

    name: str
    value: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def met(self) -> bool:
        """Whether the value is within the bound; False for NaN: an unmeasured bound is not met."""
        return self.low <= self.value <= self.high

    @property
    def bound(self) -> str:
        """Returns the bound as text."""
        if self.low > -math.inf and self.high < math.inf:
            return f"{self.low:g} .. {self.high:g}"
        return f">= {self.low:g}" if self.low > -math.inf else f"<= {self.high:g}"


@dataclass(frozen=True)
class Report:
    """The results of an evaluation.  ``settings`` describes the run and its inputs."""

    tables: tuple[Table, ...]
    targets: tuple[TargetResult, ...]
    settings: Mapping[str, object]
    curves: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    videos: Mapping[str, VideoValues] = field(default_factory=dict)

    def to_json(self) -> str:
        """Returns JSON with NaN written as null, for every parser."""
        document = {
            "settings": dict(self.settings),
            "tables": {
                t.title: {name: dict(row) for name, row in t.rows.items()} for t in self.tables
            },
            "intervals": {
                t.title: {
                    name: {k: list(v) for k, v in row.items()} for name, row in t.intervals.items()
                }
                for t in self.tables
                if t.intervals
            },
            "videos": {
                row: {"clips": list(v.clips), "shares": dict(v.shares)}
                for row, v in self.videos.items()
            },
            "targets": [{**asdict(t), "bound": t.bound, "met": t.met} for t in self.targets],
            "curves": {
                name: {k: list(v) for k, v in rows.items()} for name, rows in self.curves.items()
            },
        }
        return json.dumps(_finite(document), indent=2, default=str) + "\n"

    def to_markdown(self) -> str:
        """Returns the tables and targets as GitHub markdown."""
        parts = []
        for table in self.tables:
            head = ["", *(column.heading for column in table.columns)]
            body = [[name, *table.cells(name, with_intervals=True)] for name in table.rows]
            parts.append(f"### {table.title}\n\n{_markdown(head, body)}")
        body = [[t.name, _number(t.value, 2), t.bound, _verdict(t)] for t in self.targets]
        parts.append(f"### Targets\n\n{_markdown(['', 'measured', 'target', ''], body)}")
        facts = "\n".join(f"- {key}: {value}" for key, value in self.settings.items())
        return "\n\n".join([*parts, f"### Run\n\n{facts}"]) + "\n"

    def print(self, console: Console) -> None:
        """Prints the tables and targets in colour, as wide as the console."""
        for table in self.tables:
            head = ["", *(column.heading for column in table.columns)]
            body = [[name, *table.cells(name)] for name in table.rows]
            print_table(console, table.title, head, body)
        verdicts = RichTable(
            "target", "measured", "bound", "", title="Targets", title_justify="left"
        )
        for target in self.targets:
            colour = "green" if target.met else "red"
            verdicts.add_row(
                target.name,
                _number(target.value, 2),
                target.bound,
                f"[{colour}]{_verdict(target)}[/]",
            )
        console.print(verdicts)

    def write(self, folder: Path) -> None:
        """Writes ``report.json`` and ``report.md`` to an existing folder."""
        (folder / "report.json").write_text(self.to_json())
        (folder / "report.md").write_text(self.to_markdown())


def _verdict(target: TargetResult) -> str:
    return "met" if target.met else "missed"


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return ""
    return "n/a" if math.isnan(value) else f"{value:.{digits}f}"


def _bounds(pair: tuple[float, float] | None, digits: int) -> str:
    if pair is None or not all(math.isfinite(bound) for bound in pair):
        return ""
    return f" [{pair[0]:.{digits}f}, {pair[1]:.{digits}f}]"


def _markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *body])


def _finite(value: object) -> object:
    """Replaces NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
