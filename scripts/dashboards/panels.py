"""Parts of a Grafana dashboard as plain dicts: panels, rows, variables and their layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

WIDTH = 24
"""Columns of Grafana's grid."""

_HEIGHT = 8
_SCHEMA = 39
_DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
# Of Grafana 10 and later; a panel that names another unit shows bare numbers.
UNITS = frozenset(
    {"s", "short", "percentunit", "bytes", "mbytes", "reqps", "ops", "celsius", "watt"}
)


@dataclass(frozen=True)
class Query:
    """A query of a panel: PromQL, and the legend of its series."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Row:
    """A row of panels.

    Args:
        title: title of the row.
        panels: from left to right, wrapped when a line is full.
    """

    title: str
    panels: Sequence[Json]


def selected(*matchers: str) -> str:
    """Returns a selector of the series that the dashboard's variables select."""
    chosen = ('namespace=~"$namespace"', 'job=~"$job"', 'instance=~"$instance"')
    return "{" + ",".join([*matchers, *chosen]) + "}"


def rate(metric: str, *matchers: str) -> str:
    """Returns the rate of a counter per second."""
    return f"rate({metric}{selected(*matchers)}[$__rate_interval])"


def quantiles(metric: str, *matchers: str) -> list[Query]:
    """Returns queries of the median, the 95th and the 99th percentile of a histogram."""
    found = f"sum by (le) ({rate(metric + '_bucket', *matchers)})"
    return [
        Query(f"histogram_quantile({q}, {found})", f"p{q[2:]:0<2}") for q in ("0.5", "0.95", "0.99")
    ]


def quantile_by(label: str, metric: str, *matchers: str) -> list[Query]:
    """Returns a query of the 95th percentile of a histogram by a label."""
    found = f"sum by (le, {label}) ({rate(metric + '_bucket', *matchers)})"
    return [Query(f"histogram_quantile(0.95, {found})", f"{{{{{label}}}}}")]


def graph(
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    *,
    width: int = 8,
    stacked: bool = False,
    limit: float | None = None,
) -> Json:
    """Returns a panel of series over time.

    Args:
        title: title of the panel.
        description: meaning, and good and bad values.
        unit: one of ``UNITS``.
        queries: queries of the series.
        width: width in columns.
        stacked: whether the series are stacked.
        limit: value of a red line.
    """
    steps: list[Json] = [{"color": "green", "value": None}]
    if limit is not None:
        steps.append({"color": "red", "value": limit})
    custom = {
        "drawStyle": "line",
        "fillOpacity": 60 if stacked else 8,
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
        "thresholdsStyle": {"mode": "off" if limit is None else "line"},
    }
    return {
        "type": "timeseries",
        "title": title,
        "description": description,
        "datasource": _DATASOURCE,
        "gridPos": {"h": _HEIGHT, "w": width},
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "min": 0,
                "custom": custom,
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": _DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
            }
            for number, query in enumerate(queries)
        ],
    }


def laid_out(rows: Sequence[Row]) -> list[Json]:
    """Returns all panels with positions and ids, row by row."""
    placed: list[Json] = []
    y = 0
    for row in rows:
        head = {"type": "row", "title": row.title, "collapsed": False, "panels": []}
        placed.append(head | {"gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y}})
        y, x = y + 1, 0
        for panel in row.panels:
            width = panel["gridPos"]["w"]
            if x + width > WIDTH:
                x, y = 0, y + _HEIGHT
            placed.append(panel | {"gridPos": {"h": _HEIGHT, "w": width, "x": x, "y": y}})
            x += width
        y += _HEIGHT
    return [{"id": number, **panel} for number, panel in enumerate(placed, 1)]


def variable(name: str, query: str, all_value: str | None = None) -> Json:
    """Returns a variable that selects values of a label; initially all.

    Args:
        name: name of the variable.
        query: query of the values, such as ``label_values(metric, label)``.
        all_value: regular expression for "all"; None: every existing value.
    """
    return {
        "type": "query",
        "name": name,
        "datasource": _DATASOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": all_value,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def dashboard(title: str, uid: str, description: str, rows: Sequence[Row]) -> Json:
    """Returns the dashboard document for Grafana."""
    source = {"type": "datasource", "name": "datasource", "query": "prometheus", "refresh": 1}
    jobs = 'flashtalk_tasks{namespace=~"$namespace"'
    return {
        "title": title,
        "uid": uid,
        "description": description,
        "tags": ["flashtalk"],
        "schemaVersion": _SCHEMA,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [
                source | {"label": "Prometheus"},
                # Series of a Prometheus outside of a cluster have no such label.
                variable("namespace", "label_values(flashtalk_tasks, namespace)", ".*"),
                variable("job", f"label_values({jobs}}}, job)"),
                variable("instance", f'label_values({jobs},job=~"$job"}}, instance)'),
            ]
        },
        "panels": laid_out(rows),
    }


def filled(expr: str, *, jobs: str, window: str) -> str:
    """Returns a query with the dashboard's variables replaced.

    Args:
        expr: expression of a panel.
        jobs: regular expression of job names; namespaces and instances are not restricted.
        window: window of rates, such as ``30s``.
    """
    values = {"namespace": ".*", "job": jobs, "instance": ".*", "__rate_interval": window}
    for name, value in values.items():
        expr = expr.replace(f"${name}", value)
    return expr
