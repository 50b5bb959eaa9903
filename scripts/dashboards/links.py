"""Links from the dashboard's panels to Prometheus' web page, for use without Grafana."""

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
"""Window of rates; for a suite that is scraped every second."""

JOBS = "flashtalk.*"
_RANGE = "10m"


def link(url: str, panel: Json) -> str:
    """Returns the link of a panel, with a graph per query.

    Args:
        url: URL of Prometheus; empty for a link on one of its own pages.
        panel: a panel from ``graph``.
    """
    asked: dict[str, Any] = {}
    for number, target in enumerate(panel["targets"]):
        asked[f"g{number}.expr"] = filled(target["expr"], jobs=JOBS, window=WINDOW)
        asked |= {f"g{number}.tab": 0, f"g{number}.range_input": _RANGE}
    return f"{url}/graph?{urlencode(asked)}"


def first_links(url: str) -> Iterator[tuple[str, str]]:
    """Yields title and link of each panel of the first row."""
    for panel in stream_rows()[0].panels:
        yield panel["title"], link(url, panel)


def panels_page(file: Path) -> None:
    """Writes an HTML page with all panels, their links and descriptions."""
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
