"""The tables of ``tests.benchmarks.load``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.callers import CHUNK_FRAMES, FPS
from tests.benchmarks.rig import TABLE_4_S

CHUNK_S = CHUNK_FRAMES / FPS


def show(results: Sequence[dict[str, Any]], store: str, console: Console) -> None:
    """The tables."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "callers": lambda r: str(r["callers"]),
        "chunks/s": lambda r: f"{r['chunks_per_s']:.1f} of {r['wanted_chunks_per_s']:.1f}",
        "gateway CPU/chunk": lambda r: f"{r['gateway_cpu_ms_per_chunk_before']:.2f} ms",
        "overhead p50 / p99": lambda r: _pair(r, "overhead"),
        "frame lag p50 / p99": lambda r: _pair(r, "lag"),
        "underruns": lambda r: str(r["underruns"]),
        "gateway cores": lambda r: f"{r['cores']['gateway']:.2f}",
        "for 300": lambda r: f"{_share_of_300(r):.2f}",
        "all cores": lambda r: f"{sum(r['cores'].values()):.2f}",
        "RSS": lambda r: f"{r['gateway_rss_mib']:.0f} MiB",
    }
    _table(f"one gateway, {store} store, workers of Table 4's times", columns, results, console)
    columns = {
        "callers": lambda r: str(r["callers"]),
        "refused": lambda r: str(r["refused"]),
        "refusal p50 / p99": lambda r: _pair(r, "refusal"),
        "overhead before": lambda r: _pair(r, "overhead_before"),
        "while refusing": lambda r: _pair(r, "overhead_while_refusing"),
    }
    _table("sessions beyond capacity, asked for in the second half", columns, results, console)


def show_policies(results: Sequence[dict[str, Any]], share: float, console: Console) -> None:
    """How many streams a DiT worker of Table 4's time carries under each idle policy."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "idle policy": lambda r: r["idle_policy"],
        "callers": lambda r: str(r["callers"]),
        "chunks/s": lambda r: f"{r['chunks_per_s']:.1f} of {r['wanted_chunks_per_s']:.1f}",
        "computed": lambda r: f"{r['computed_share']:.2f}",
        "streams per DiT worker": lambda r: f"{streams_per_worker(r['computed_share']):.1f}",
        "gateway CPU/chunk": lambda r: f"{r['gateway_cpu_ms_per_chunk']:.2f} ms",
        "frame lag p50 / p99": lambda r: _pair(r, "lag"),
    }
    _table(f"callers speak {share:.0%} of the time", columns, results, console)


def streams_per_worker(computed_share: float) -> float:
    """Streams that keep a DiT worker busy, if that share of their chunks is computed."""
    return CHUNK_S / (TABLE_4_S["denoise"] * max(computed_share, 1e-9))


def _share_of_300(result: dict[str, Any]) -> float:
    """Cores that 300 callers would take at the same cost per chunk."""
    cost_ms: float = result["gateway_cpu_ms_per_chunk_before"]
    return cost_ms / 1e3 * 300 / CHUNK_S


def _pair(result: dict[str, Any], name: str) -> str:
    return f"{result[f'{name}_p50_ms']:.1f} / {result[f'{name}_p99_ms']:.1f} ms"


def _table(
    title: str,
    columns: Mapping[str, Callable[[dict[str, Any]], str]],
    results: Sequence[dict[str, Any]],
    console: Console,
) -> None:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right")
    for result in results:
        table.add_row(*(text(result) for text in columns.values()))
    console.print(table)
