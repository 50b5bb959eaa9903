"""Shared parts of the tables of ``flashtalk bench``: machine, setting, limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from rich.table import Table

from flashtalk.cli.bench_pipeline import PipelineChoice
from flashtalk.cli.bench_report import machine
from flashtalk.cli.machine import inspect_machine
from flashtalk.cli.peaks import Peaks
from flashtalk.ops.attention import available_backends
from flashtalk.presets import WITHOUT_PROMPT

JSON_FORMAT = 1
_LARGE_FLOPS = 1e12
COUNTED = (
    "flops: matrix products, convolutions and attention; a multiply-add counts as two. "
    "bytes: every weight once, inputs and outputs of those operations once. peaks: the "
    "fastest of a few calls on this machine. limit: the larger of compute time at these "
    "peaks and transfer time at copy bandwidth, divided by the number of GPUs"
)


def surroundings(choice: PipelineChoice, peaks: Peaks) -> dict[str, Any]:
    """Returns machine, versions, setting and peaks as plain values."""
    found, device = inspect_machine(), choice.placement().device
    return {
        "format": JSON_FORMAT,
        "machine": machine(),
        "versions": {
            "python": found.python,
            **found.packages,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,
        },
        "setting": {
            "preset": choice.preset,
            "weights": choice.weights_name,
            "precision": choice.precision_name,
            "compile": choice.compiled,
            "device": str(device),
            "threads": torch.get_num_threads(),
            "attention": list(available_backends(device)),
            "stand_ins": _stand_ins(choice),
        },
        "peaks": {
            "matrix_flops_s": peaks.matrix_flops_s,
            "convolution_flops_s": peaks.convolution_flops_s,
            "copy_bytes_s": peaks.copy_bytes_s,
        },
        "counted": COUNTED,
        "machine_line": machine_line(choice),
    }


def machine_line(choice: PipelineChoice) -> str:
    """Describes the machine in a line."""
    device, there = choice.placement().device, machine()
    if device.type == "cuda":
        where = f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    else:
        where = f"{there['cpu_model']}, {there['cpu_cores']} cores"
    return f"{where}, torch {torch.__version__}"


def _stand_ins(choice: PipelineChoice) -> list[str]:
    """Returns the models in whose place random tokens are used."""
    return ["clip", "umt5"] if choice.random and choice.preset not in WITHOUT_PROMPT else []


def setting_line(report: dict[str, Any]) -> str:
    """Describes the pipeline in a line."""
    setting = report["setting"]
    line = (
        f"{setting['preset']} ({setting['weights']} weights), {setting['precision']}, "
        f"compile {'on' if setting['compile'] else 'off'}"
    )
    if setting["stand_ins"]:
        line += "; random tokens for text and portrait"
    return line


def peaks_line(report: dict[str, Any]) -> str:
    """Describes the measured peaks in a line."""
    peaks = report["peaks"]
    matrix = ", ".join(f"{kind} {_tera(flops)}" for kind, flops in peaks["matrix_flops_s"].items())
    convolution = ", ".join(
        f"{kind} {_tera(flops)}" for kind, flops in peaks["convolution_flops_s"].items()
    )
    return (
        f"peaks: matrix {matrix}; convolution {convolution} TFLOP/s; "
        f"copy {peaks['copy_bytes_s'] / 1e9:.0f} GB/s"
    )


def limits_table(title: str, rows: Sequence[tuple[str, dict[str, Any]]]) -> Table:
    """Returns a table of work, limit and share of the peak of stages; at most 80 columns.

    Args:
        rows: names, and results of ``work_row``.
    """
    # One unit for all: values of the large preset are thousands of times those of the tiny one.
    large = max(row["flops"] for _, row in rows) >= _LARGE_FLOPS
    unit, name_of_unit = (1e12, "TFLOP") if large else (1e9, "GFLOP")
    table = Table(title=title, title_justify="left")
    table.add_column("stage", no_wrap=True)
    for heading in (name_of_unit, "GB", "limit ms", "bound by", f"{name_of_unit}/s", "of peak"):
        table.add_column(heading, justify="right")
    for name, row in rows:
        table.add_row(
            name,
            number(row["flops"] / unit),
            number(row["moved_bytes"] / 1e9),
            number(row["limit_ms"]),
            row["bound_by"],
            number(row["tflops_s"] * 1e12 / unit),
            f"{100 * row['peak_share']:.0f} %",
        )
    return table


def number(value: float) -> str:
    """Formats three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _tera(flops_s: float) -> str:
    return number(flops_s / 1e12)
