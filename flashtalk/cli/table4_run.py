"""Runs ``flashtalk bench table4``: measures each number of ranks, then prints the report."""

from __future__ import annotations

import argparse
import gc
from pathlib import Path
from typing import Any

import torch

from flashtalk.bounds import check_between
from flashtalk.cli.bar_chart import Bar, check_chart, draw_bars
from flashtalk.cli.bench_pipeline import PRECISIONS, PipelineChoice
from flashtalk.cli.bench_report import load_average
from flashtalk.cli.call_times import CallTimes, Repeats
from flashtalk.cli.device_memory import device_memory, reset_peak
from flashtalk.cli.interrupt import Interrupts
from flashtalk.cli.limits import check_report, make_folder, save_report
from flashtalk.cli.memory import enough_memory
from flashtalk.cli.overlay_option import overlays_of
from flashtalk.cli.peaks import Peaks, measure_peaks
from flashtalk.cli.progress import steps
from flashtalk.cli.rank_processes import check_ranks, on_ranks
from flashtalk.cli.stage_limits import Limit, stage_row
from flashtalk.cli.stage_times import STAGES, measure_stages, slowest, stages_work
from flashtalk.cli.table4_report import TITLES, WHOLE, as_json, show
from flashtalk.cli.table4_report import ranks as as_words
from flashtalk.engine import Pipeline, keep_freed_memory
from flashtalk.errors import InputError
from flashtalk.parallel import (
    apply,
    choose_grid,
    choose_layout,
    is_sliced,
    join_grid,
    join_mesh,
)
from flashtalk.streaming import parse_size_hw, preset_spec
from flashtalk.terminal import report_console

_MOST_RANKS, _MOST_THREADS = 64, 1_024
_RANKS_S = 3_600.0
Times = dict[str, CallTimes]


def table4(args: argparse.Namespace) -> int:
    """Measures, writes, prints; returns the exit code."""
    choice, ranks, repeats = _checked(args)
    with Interrupts(), enough_memory(args.device):
        if args.threads is not None:
            torch.set_num_threads(args.threads)
        keep_freed_memory()
        average = load_average()
        report = measure(choice, parse_size(args), ranks, repeats) | {"load_average": average}
    save_report(report, args.out)
    chart = chart_path(args)
    if chart is not None:
        _draw(report, chart)
    console = report_console()
    show(report, console)
    for path in (args.out, chart):
        if path is not None:
            console.print(f"{path}: written", highlight=False, soft_wrap=True, markup=False)
    return 0


def measure(
    choice: PipelineChoice, size_hw: tuple[int, int] | None, ranks: list[int], repeats: Repeats
) -> dict[str, Any]:
    """Returns all rows of the JSON.

    Args:
        choice: the measured pipeline.
        size_hw: of the video; ``None``: the weights' default.
        ranks: numbers of devices.
        repeats: numbers of calls of each stage.
    """
    device = choice.placement().device
    found: dict[int, dict[str, Any]] = {}
    with steps(2 + len(ranks)) as tick:
        tick("peaks of this machine")
        peaks = measure_peaks(device)
        for count in ranks:
            tick(as_words(count))
            found[count] = _measured_on(choice, size_hw, count, repeats)
        # Repeated: other programs may have disturbed the first measurement of the peaks.
        tick("peaks of this machine")
        peaks = peaks.or_better(measure_peaks(device))
    return as_json(choice, [row_of(found[n], choice, n, peaks) for n in ranks], peaks)


def _measured_on(
    choice: PipelineChoice, size_hw: tuple[int, int] | None, ranks: int, repeats: Repeats
) -> dict[str, Any]:
    if ranks == 1:
        return _alone(choice, size_hw, repeats)
    device = choice.placement().device.type
    each = on_ranks(_on_rank, (choice, size_hw, repeats), ranks, device, _RANKS_S)
    return {**each[0], "times": slowest([one["times"] for one in each])}


def row_of(
    found: dict[str, Any], choice: PipelineChoice, ranks: int, peaks: Peaks
) -> dict[str, Any]:
    """Returns times and work of one number of ranks, with the limits of this machine."""
    # Ranks on a CPU share the CPU whose peaks were measured.
    alone = choice.placement().device.type == "cpu"
    stages = {}
    for name in STAGES:
        shared = name == "dit_step" or found["grid"] != WHOLE
        devices = ranks if shared and not alone else 1
        # Only the transformer's layers are in FP8; the VAE computes in bfloat16.
        precision = choice.precision_name if name == "dit_step" else found["vae_type"]
        limit = Limit.of(found["work"][name], peaks, precision, devices)
        stages[name] = stage_row(found["times"][name], found["work"][name], limit)
    kept = ("width_px", "height_px", "layout", "grid", "dtype", "memory")
    return {"ranks": ranks, **{name: found[name] for name in kept}, "stages": stages}


def measured(
    pipeline: Pipeline,
    size_hw: tuple[int, int],
    repeats: Repeats,
    layout: str = "1",
    grid: str = WHOLE,
) -> dict[str, Any]:
    """Measures a loaded pipeline; with its work (``stages_work``) it gives a ``row_of``."""
    device = next(pipeline.denoiser.network.parameters()).device
    reset_peak(device)
    of_vae = str(next(pipeline.codec.vae.parameters()).dtype).removeprefix("torch.")
    return {
        "times": measure_stages(pipeline, size_hw, repeats),
        "width_px": size_hw[1],
        "height_px": size_hw[0],
        "layout": layout,
        "grid": grid,
        "dtype": {
            "dit": str(pipeline.denoiser.network.dtype).removeprefix("torch."),
            "vae": of_vae,
        },
        "vae_type": of_vae,
        "memory": device_memory(device),
    }


def _alone(
    choice: PipelineChoice, size_hw: tuple[int, int] | None, repeats: Repeats
) -> dict[str, Any]:
    pipeline = choice.build()
    size = size_hw or pipeline.sampling.size_hw
    found = measured(pipeline, size, repeats) | {"work": stages_work(pipeline, size)}
    del pipeline
    # The next row's processes need the device's memory.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return found


def _on_rank(
    rank: int, ranks: int, choice: PipelineChoice, size_hw: tuple[int, int] | None, repeats: Repeats
) -> dict[str, Any]:
    keep_freed_memory()
    device = choice.placement().device.type
    pipeline = choice.on(f"cuda:{rank}" if device == "cuda" else device).build()
    size = size_hw or pipeline.sampling.size_hw
    layout = choose_layout(ranks, pipeline.denoiser.network.config.num_heads)
    apply(pipeline.denoiser.network, join_mesh(layout))
    grid = WHOLE
    if is_sliced(pipeline.codec.vae):
        chosen = choose_grid(ranks, pipeline.spec.latent_size(*size))
        apply(pipeline.codec.vae, join_grid(chosen))
        grid = str(chosen)
    found = measured(pipeline, size, repeats, str(layout), grid)
    return found if rank else found | {"work": stages_work(pipeline, size)}


def _checked(args: argparse.Namespace) -> tuple[PipelineChoice, list[int], Repeats]:
    """Checks all inputs before anything is measured."""
    choice = choice_of(args)
    choice.check()
    repeats = Repeats(args.warmup, args.repeats)
    ranks = read_ranks(args.ranks)
    parse_size(args)
    device = choice.placement().device
    for count in ranks:
        check_ranks(count, device)
    check_places(args)
    return choice, ranks, repeats


def choice_of(args: argparse.Namespace) -> PipelineChoice:
    """Returns the choice from the options of ``add_pipeline_options``."""
    return PipelineChoice(
        preset=args.preset,
        weights=args.weights,
        random=args.random,
        device=args.device,
        precision=PRECISIONS[args.precision],
        compiled=args.compile == "on",
        overlays=overlays_of(args),
    )


def parse_size(args: argparse.Namespace) -> tuple[int, int] | None:
    """Returns height and width. Raises InputError for an impossible size."""
    if args.size is None:
        return None
    return parse_size_hw(args.size, spec=preset_spec(args.preset))


def check_places(args: argparse.Namespace) -> None:
    """Raises InputError for files that cannot be written, and for threads out of range."""
    check_between("threads", args.threads, 1, _MOST_THREADS)
    make_folder(args.out)
    check_report(args.out)
    check_chart(chart_path(args))


def chart_path(args: argparse.Namespace) -> Path | None:
    """Returns the chart's path beside the JSON, if it is requested."""
    path: Path = args.out.with_suffix(".png")
    return path if args.chart else None


def read_ranks(text: str) -> list[int]:
    """Parses ``1,2,4`` as numbers without repetition. Raises InputError for anything else."""
    words = text.split(",")
    if not all(word.strip().isascii() and word.strip().isdecimal() for word in words):
        raise InputError("ranks", text, "comma-separated integers, such as 1,2,4")
    numbers = sorted({int(word) for word in words})
    for number in numbers:
        check_between("ranks", number, 1, _MOST_RANKS)
    return numbers


def _draw(report: dict[str, Any], path: Path) -> None:
    several = len(report["rows"]) > 1
    bars = [
        Bar(
            f"{title}, {as_words(row['ranks'])}" if several else title,
            stage["p50_ms"],
            stage["p95_ms"],
            stage["limit_ms"],
        )
        for name, title in TITLES.items()
        for row in report["rows"]
        for stage in [row["stages"][name]]
    ]
    draw_bars(bars, f"{report['title']}\n{report['machine_line']}", path)
