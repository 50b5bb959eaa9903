"""The report's Table 4 as JSON and as tables of 80 columns."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from flashtalk.cli.bench_pipeline import PipelineChoice
from flashtalk.cli.peaks import Peaks
from flashtalk.cli.table_report import limits_table, number, peaks_line, setting_line, surroundings

TITLES = {"encode": "VAE encode", "decode": "VAE decode", "dit_step": "DiT step"}
WHOLE = "1"
"""The grid of a VAE that every rank computes whole."""


def as_json(choice: PipelineChoice, rows: list[dict[str, Any]], peaks: Peaks) -> dict[str, Any]:
    """Returns everything as plain values; names contain units."""
    report = {"table": "table4", **surroundings(choice, peaks), "rows": rows}
    first = rows[0]
    size = f"{first['width_px']}x{first['height_px']}"
    return report | {"title": f"{size}, {setting_line(report)}"}


def show(report: dict[str, Any], console: Console) -> None:
    """Prints the tables."""
    for line in (report["title"], report["machine_line"], peaks_line(report)):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(_times(report))
    if any(row["ranks"] > 1 and row["grid"] == WHOLE for row in report["rows"]):
        console.print("The VAE of this preset is not sliced: every rank computes all of it.")
    several = len(report["rows"]) > 1
    rows = [
        (TITLES[name] + (f", {ranks(row['ranks'])}" if several else ""), stage)
        for row in report["rows"]
        for name, stage in row["stages"].items()
    ]
    console.print(limits_table("Compared with the limits of this machine", rows))


def ranks(count: int) -> str:
    """Formats a value with its unit."""
    return f"{count} rank{'s' * (count > 1)}"


def _times(report: dict[str, Any]) -> Table:
    table = Table(title="Milliseconds: median (95th percentile)", title_justify="left")
    compiled = "compiled" if report["setting"]["compile"] else "eager"
    for heading in ("ranks", "VAE encode", "VAE decode", f"DiT step, {compiled}", "warm-up s"):
        table.add_column(heading, justify="right")
    for row in report["rows"]:
        stages = row["stages"]
        cells = [f"{number(s['p50_ms'])} ({number(s['p95_ms'])})" for s in stages.values()]
        warmup_s = sum(stage["warmup_s"] for stage in stages.values())
        table.add_row(str(row["ranks"]), *cells, number(warmup_s))
    return table
