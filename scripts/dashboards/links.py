"""The dashboard's panels as links to a Prometheus' own page, for where there is no Grafana."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from scripts.dashboards.panels import Json, filled
from scripts.dashboards.process_rows import process_rows
from scripts.dashboards.stream_rows import stream_rows

WINDOW = "20s"
"""Rates are of so long: of a suite on one machine that is read every second."""

JOBS = "flashtalk.*"
_RANGE = "10m"


def link(url: str, panel: Json) -> str:
    """Of one panel: a graph for each of its queries.

    Args:
        url: of the Prometheus; empty for a link on one of its own pages.
        panel: as ``graph`` made it.
    """
    asked: dict[str, Any] = {}
    for number, target in enumerate(panel["targets"]):
        asked[f"g{number}.expr"] = filled(target["expr"], jobs=JOBS, window=WINDOW)
        asked |= {f"g{number}.tab": 0, f"g{number}.range_input": _RANGE}
    return f"{url}/graph?{urlencode(asked)}"


def first_links(url: str) -> Iterator[tuple[str, str]]:
    """Title and link of each panel of the first row."""
    for panel in stream_rows()[0].panels:
        yield panel["title"], link(url, panel)


def panels_page(file: Path) -> None:
    """Writes a page with all panels, their links and what is good and bad."""
    parts = ["<!doctype html><meta charset=utf-8><title>FlashTalk</title><h1>FlashTalk</h1>"]
    for row in (*stream_rows(), *process_rows()):
        parts.append(f"<h2>{html.escape(row.title)}</h2><dl>")
        for panel in row.panels:
            target, title = html.escape(link("", panel)), html.escape(panel["title"])
            parts.append(f'<dt><a href="{target}">{title}</a>')
            parts.append(f"<dd>{html.escape(panel['description'])}")
        parts.append("</dl>")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(parts), encoding="utf-8")
