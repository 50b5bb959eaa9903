"""The report's Figure 6 as JSON and as tables of 80 columns."""

from __future__ import annotations

import statistics
from typing import Any

from rich.console import Console
from rich.table import Table

from flashtalk.cli.bench_pipeline import PipelineChoice
from flashtalk.cli.bench_soak import MIB
from flashtalk.cli.bench_stages import Measured, Talk
from flashtalk.cli.peaks import Peaks
from flashtalk.cli.spread import Spread
from flashtalk.cli.table_report import limits_table, number, peaks_line, setting_line, surroundings

REST = "rest"
TITLES = {
    "audio": "speech features",
    "denoise": "denoise",
    "decode": "VAE decode",
    "color": "colour, to bytes",
    "motion": "motion encode",
    "h264": "H.264",
    REST: "other",
}


def as_json(
    choice: PipelineChoice, talk: Talk, peaks: Peaks, stages: dict[str, Any], times: Measured
) -> dict[str, Any]:
    """Returns everything as plain values; names contain units."""
    assert talk.size_hw is not None
    spec, chunk_s = talk.pipeline.spec, Spread.of(times.chunks_s)
    steps = talk.sampling.steps
    report = {"table": "cycle", **surroundings(choice, peaks), "stages": stages}
    report["setting"] |= {
        "width_px": talk.size_hw[1],
        "height_px": talk.size_hw[0],
        "steps": steps,
        "audio_guidance": talk.sampling.audio_guidance,
        "chunks": chunk_s.count,
    }
    video_s = spec.new_frames / spec.fps
    size = f"{talk.size_hw[1]}x{talk.size_hw[0]}"
    return report | {
        "title": f"{size}, {steps} steps, {setting_line(report)}",
        "cycle": {
            "p50_ms": 1e3 * chunk_s.p50,
            "p95_ms": 1e3 * chunk_s.p95,
            "frames": spec.new_frames,
            "video_s": video_s,
            "fps": spec.new_frames / statistics.fmean(times.chunks_s),
            "real_time_factor": statistics.fmean(times.chunks_s) / video_s,
            "limit_ms": sum(stage.get("limit_ms", 0.0) for stage in stages.values()),
        },
    }


def show(report: dict[str, Any], console: Console) -> None:
    """Prints the tables."""
    for line in (report["title"], report["machine_line"], peaks_line(report)):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(_stages(report))
    counted = [
        (TITLES[name], stage) for name, stage in report["stages"].items() if "flops" in stage
    ]
    console.print(limits_table("Compared with the limits of this machine", counted))
    console.print(_start(report))


def _stages(report: dict[str, Any]) -> Table:
    cycle = report["cycle"]
    table = Table(
        title=f"One chunk, over {report['setting']['chunks']} chunks", title_justify="left"
    )
    table.add_column("stage", no_wrap=True)
    for heading in ("p50 ms", "p95 ms", "share", "limit ms"):
        table.add_column(heading, justify="right")
    for name, stage in report["stages"].items():
        share = f"{100 * stage['p50_ms'] / cycle['p50_ms']:.0f} %"
        limit = number(stage["limit_ms"]) if "limit_ms" in stage else ""
        cells = number(stage["p50_ms"]), number(stage["p95_ms"]), share, limit
        table.add_row(TITLES[name], *cells)
    table.add_section()
    cells = number(cycle["p50_ms"]), number(cycle["p95_ms"]), "100 %", number(cycle["limit_ms"])
    table.add_row(f"whole cycle ({cycle['frames']} frames)", *cells)
    return table


def _start(report: dict[str, Any]) -> Table:
    start, cycle, memory = report["startup"], report["cycle"], report["memory"]
    table = Table(title="Start and speed of a stream", show_header=False, title_justify="left")
    table.add_row("audio needed before the first frame", f"{start['sound_s']:.2f} s")
    table.add_row("compute time of the first frame", f"{start['computing_s']:.3f} s")
    table.add_row("... in a cold process", f"{start['computing_cold_s']:.3f} s")
    table.add_row("conditioning (portrait, prompt)", f"{start['condition_s']:.3f} s")
    table.add_row("load the models", f"{start['load_s']:.1f} s")
    table.add_row("sustained frames per second", f"{cycle['fps']:.1f}")
    table.add_row("real-time factor", f"{cycle['real_time_factor']:.3f}")
    table.add_row("peak memory of the process", f"{memory['peak_rss_bytes'] / MIB:.0f} MiB")
    if memory["device_peak_bytes"] is not None:
        table.add_row("peak memory of the device", f"{memory['device_peak_bytes'] / MIB:.0f} MiB")
    return table
