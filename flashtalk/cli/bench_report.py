"""The results of `flashtalk bench`, as JSON and as tables."""

from __future__ import annotations

import dataclasses
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from flashtalk.cli.bench_soak import FLAT_MIB, MIB, Soak
from flashtalk.cli.bench_stages import STAGES, Measured, SessionTimes
from flashtalk.cli.machine import inspect_machine
from flashtalk.cli.spread import Spread
from flashtalk.engine import ConditionEncoders, Pipeline, Sampling

JSON_FORMAT = 1
TITLES = {
    "audio": "audio features",
    "dit_step": "DiT step",
    "denoise": "denoise (all steps)",
    "decode": "decode",
    "color": "colour correction",
    "motion": "motion encode",
    "h264": "H.264 encode",
}
_CPUINFO = Path("/proc/cpuinfo")
_SHOWN_POINTS = 12


@dataclass(frozen=True)
class Setting:
    """The setting of a run.

    Args:
        preset: its name.
        weights: ``random``, ``shipped`` or the name of the folder.
        size_hw: of the video.
        sampling: steps and guidance.
        compiled: whether the transformer used torch.compile.
        warmup: chunks before the measured ones.
        load_average: mean number of runnable processes in the minute before the start.
    """

    preset: str
    weights: str
    size_hw: tuple[int, int]
    sampling: Sampling
    compiled: bool
    warmup: int
    load_average: float


@dataclass(frozen=True)
class Findings:
    """The measurements of a run.

    Args:
        load_s: time to build the models and read their weights.
        cold: the first session of the process.
        warm_s: time of the warm-up chunks.
        sessions: later sessions.
        measured: the measured chunks.
        peak_rss_bytes: of the whole process.
        soak: of a long stream, if requested.
    """

    load_s: float
    cold: SessionTimes
    warm_s: float
    sessions: Sequence[SessionTimes]
    measured: Measured
    peak_rss_bytes: int
    soak: Soak | None


def cpu_model(cpuinfo: str) -> str:
    """Returns the processor's model name from the text of /proc/cpuinfo, else the platform's."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def dtypes(pipeline: Pipeline) -> dict[str, str]:
    """Returns the compute dtype of each model."""
    models: dict[str, nn.Module] = {
        "dit": pipeline.denoiser.network,
        "vae": pipeline.codec.vae,
        "wav2vec2": pipeline.audio.model,
    }
    if isinstance(pipeline.encoders, ConditionEncoders):
        models |= {"clip": pipeline.encoders.clip, "umt5": pipeline.encoders.text}
    return {
        name: str(next(model.parameters()).dtype).removeprefix("torch.")
        for name, model in models.items()
    }


def machine() -> dict[str, Any]:
    """Returns processor, memory and devices."""
    found = inspect_machine()
    cpuinfo = _CPUINFO.read_text(errors="replace") if _CPUINFO.exists() else ""
    return {
        "system": found.system,
        "cpu_model": cpu_model(cpuinfo),
        "cpu_capability": found.devices[0].model,
        "cpu_cores": found.cpu_cores,
        "memory_bytes": found.devices[0].memory_bytes,
        "accelerators": [device.model for device in found.devices[1:]],
    }


def as_json(pipeline: Pipeline, setting: Setting, findings: Findings) -> dict[str, Any]:
    """Returns everything as plain values; names contain units."""
    found = inspect_machine()
    spec, measured = pipeline.spec, findings.measured
    chunk_s = Spread.of(measured.chunks_s)
    fps = spec.new_frames / statistics.fmean(measured.chunks_s)
    return {
        "format": JSON_FORMAT,
        "machine": machine(),
        "versions": {"python": found.python, **found.packages},
        "setting": {
            "preset": setting.preset,
            "weights": setting.weights,
            "width_px": setting.size_hw[1],
            "height_px": setting.size_hw[0],
            "steps": setting.sampling.steps,
            "audio_guidance": setting.sampling.audio_guidance,
            "sampler": setting.sampling.sampler,
            "dtype": dtypes(pipeline),
            "compile": setting.compiled,
            "device": str(next(pipeline.denoiser.network.parameters()).device),
            "threads": torch.get_num_threads(),
            "chunks": len(measured.chunks_s),
            "warmup_chunks": setting.warmup,
            "load_average": setting.load_average,
        },
        "startup": {
            "load_s": findings.load_s,
            "condition_s": statistics.median(s.condition_s for s in findings.sessions),
            "condition_cold_s": findings.cold.condition_s,
            "warmup_s": findings.warm_s,
        },
        "first_frame": {
            "p50_s": statistics.median(s.first_frame_s for s in findings.sessions),
            "cold_s": findings.cold.first_frame_s,
        },
        "stages": {name: _milliseconds(measured.stages_s[name]) for name in STAGES},
        "chunk": {
            "frames": spec.new_frames,
            "video_s": spec.new_frames / spec.fps,
            "p50_s": chunk_s.p50,
            "p95_s": chunk_s.p95,
            "cpu_p50_s": Spread.of(measured.chunks_cpu_s).p50,
            "fps": fps,
            "real_time_factor": spec.fps / fps,
        },
        "memory": {"peak_rss_bytes": findings.peak_rss_bytes},
        "soak": None if findings.soak is None else _soak_json(findings.soak),
    }


def _milliseconds(seconds: Sequence[float]) -> dict[str, float | int]:
    spread = Spread.of(seconds)
    return {"p50_ms": 1e3 * spread.p50, "p95_ms": 1e3 * spread.p95, "count": spread.count}


def _soak_json(soak: Soak) -> dict[str, Any]:
    return {
        **dataclasses.asdict(soak),
        "flat": soak.flat,
        "real_time_factor": soak.real_time_factor,
    }


def show(report: dict[str, Any], console: Console) -> None:
    """Prints the tables of a report (``as_json``)."""
    console.print(_title(report), highlight=False, soft_wrap=True)
    console.print(_stage_table(report))
    console.print(_summary_table(report))
    if report["soak"] is not None:
        console.print(_soak_line(report["soak"]), highlight=False, soft_wrap=True)
        console.print(_soak_table(report["soak"]))


def load_average() -> float:
    """Returns the mean number of runnable processes in the last minute."""
    return os.getloadavg()[0]


def _title(report: dict[str, Any]) -> str:
    setting, there = report["setting"], report["machine"]
    types = ", ".join(f"{name} {dtype}" for name, dtype in setting["dtype"].items())
    return (
        f"{setting['preset']} ({setting['weights']} weights) at {setting['width_px']}x"
        f"{setting['height_px']}, {setting['steps']} steps, audio guidance "
        f"{setting['audio_guidance']:g}, compile {'on' if setting['compile'] else 'off'}\n"
        f"{types}\n"
        f"{there['cpu_model']}, {there['cpu_cores']} cores, {setting['threads']} threads, "
        f"{there['memory_bytes'] / (1 << 30):.0f} GiB, device {setting['device']}, load average "
        f"{setting['load_average']:.1f}, torch {report['versions']['torch']}"
    )


def _stage_table(report: dict[str, Any]) -> Table:
    chunk = report["chunk"]
    count = report["setting"]["chunks"]
    table = Table(title=f"Stages of a chunk, over {count} chunks", title_justify="left")
    table.add_column("stage")
    for heading in ("p50 ms", "p95 ms", "share"):
        table.add_column(heading, justify="right")
    for name, times in report["stages"].items():
        # One step is a part of `denoise`, which has the share.
        share = "" if name == "dit_step" else f"{times['p50_ms'] / chunk['p50_s'] / 10:.0f} %"
        table.add_row(TITLES[name], f"{times['p50_ms']:.1f}", f"{times['p95_ms']:.1f}", share)
    table.add_section()
    whole = f"whole chunk ({chunk['frames']} frames)"
    table.add_row(whole, f"{1e3 * chunk['p50_s']:.1f}", f"{1e3 * chunk['p95_s']:.1f}", "100 %")
    return table


def _summary_table(report: dict[str, Any]) -> Table:
    chunk, startup, first = report["chunk"], report["startup"], report["first_frame"]
    table = Table(title="Summary", show_header=False, title_justify="left")
    table.add_row("frames per second", f"{chunk['fps']:.1f}")
    table.add_row("real-time factor", f"{chunk['real_time_factor']:.3f}")
    cpu = f"{chunk['cpu_p50_s']:.3f} s, sum of all threads"
    table.add_row("processor time of a chunk", cpu)
    table.add_row("first frame after its sound", f"{first['p50_s']:.3f} s")
    table.add_row("... in a cold process", f"{first['cold_s']:.3f} s")
    table.add_row("load the models", f"{startup['load_s']:.2f} s")
    table.add_row("condition (portrait, prompt)", f"{startup['condition_s']:.3f} s")
    table.add_row("... in a cold process", f"{startup['condition_cold_s']:.3f} s")
    table.add_row("peak memory", f"{report['memory']['peak_rss_bytes'] / MIB:.0f} MiB")
    return table


def _soak_line(soak: dict[str, Any]) -> str:
    verdict = "flat" if soak["flat"] else f"[red]grew by more than {FLAT_MIB} MiB[/red]"
    return (
        f"{soak['video_s'] / 60:.1f} minutes: real-time factor {soak['real_time_factor']:.3f}, "
        f"slowest chunk {soak['slowest_chunk_s']:.2f} s, "
        f"memory {verdict} ({soak['growth_bytes'] / MIB:+.1f} MiB)"
    )


def _soak_table(soak: dict[str, Any]) -> Table:
    table = Table(title="Memory of a long stream", title_justify="left")
    table.add_column("minute", justify="right")
    table.add_column("memory, MiB", justify="right")
    points = soak["memory"]
    stride = -(-len(points) // _SHOWN_POINTS)
    for point in [*points[:-1:stride], points[-1]]:
        table.add_row(f"{point['video_s'] / 60:.1f}", f"{point['rss_bytes'] / MIB:.0f}")
    return table
