"""The chart's dashboards and alerts as tests read them; the metrics that services declare."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import REGISTRY

CHART = Path(__file__).resolve().parents[2] / "helm/flashtalk"
RULES, RULES_TEST = CHART / "alerts/rules.yaml", CHART / "alerts/rules_test.yaml"
DECLARING = (
    "flashtalk.serving.metrics",
    "services.audio_encoder.batching",
    "services.dit_worker.conditionings",
    "services.gateway.metrics",
)
# Of exporters and of Prometheus itself: all that queries may name beside what services declare.
DCGM = frozenset(
    {
        "DCGM_FI_DEV_FB_USED",
        "DCGM_FI_DEV_GPU_TEMP",
        "DCGM_FI_DEV_GPU_UTIL",
        "DCGM_FI_DEV_POWER_USAGE",
    }
)
REDIS = frozenset(
    {
        "redis_commands_duration_seconds_total",
        "redis_commands_processed_total",
        "redis_connected_clients",
        "redis_evicted_keys_total",
        "redis_memory_max_bytes",
        "redis_memory_used_bytes",
        "redis_up",
    }
)
PROCESS = frozenset(
    {
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    }
)
UP = frozenset({"up"})
_ENDINGS = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
_NAME = re.compile(r"(?<![\w$])(?:flashtalk|process|redis|DCGM)_\w+|\bup(?=[{ =])")


@dataclass(frozen=True)
class Asked:
    """One query of a dashboard.

    Args:
        panel: its title; legend: how its series are named.
    """

    panel: str
    expr: str
    legend: str


def dashboards() -> dict[str, dict[str, Any]]:
    """Every dashboard by the name of its file."""
    found = sorted((CHART / "dashboards").glob("*.json"))
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in found}


def queries() -> list[Asked]:
    """Every query of every panel of every dashboard."""
    return [
        Asked(panel["title"], target["expr"], target["legendFormat"])
        for board in dashboards().values()
        for panel in board["panels"]
        for target in panel.get("targets", [])
    ]


def alerts() -> list[dict[str, Any]]:
    """Every alert as the file has it."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def metrics_of(expr: str) -> set[str]:
    """Names of the series that a query asks for."""
    return set(_NAME.findall(re.sub(r'"[^"]*"', '""', expr)))


def declared() -> dict[str, set[str]]:
    """Names of samples that the services' pages can have, by metric as it is documented."""
    for module in DECLARING:
        importlib.import_module(module)
    found: dict[str, set[str]] = {}
    for family in REGISTRY.collect():
        if family.name.startswith(("flashtalk_", "process_")):
            endings = _ENDINGS[family.type]
            documented = family.name + (endings[0] if family.type == "counter" else "")
            found[documented] = {family.name + ending for ending in endings}
    return found
