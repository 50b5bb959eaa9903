"""Runs ``flashtalk bench cycle``: measures chunks of one session, and starts of several."""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from typing import Any

import torch

from flashtalk.bounds import check_between
from flashtalk.cli.bar_chart import Bar, draw_bars
from flashtalk.cli.bench_inputs import portrait, sound
from flashtalk.cli.bench_pipeline import PipelineChoice
from flashtalk.cli.bench_report import load_average
from flashtalk.cli.bench_stages import Measured, Talk, measure_chunks
from flashtalk.cli.call_times import MOST_CALLS
from flashtalk.cli.cycle_report import REST, TITLES, as_json, show
from flashtalk.cli.device_memory import device_memory, reset_peak
from flashtalk.cli.interrupt import Interrupts
from flashtalk.cli.limits import MOST_STEPS, save_report
from flashtalk.cli.memory import enough_memory
from flashtalk.cli.peaks import Peaks, measure_peaks
from flashtalk.cli.progress import steps
from flashtalk.cli.spread import Spread
from flashtalk.cli.stage_limits import Limit, work_row
from flashtalk.cli.stream_start import StreamStart, measure_start
from flashtalk.cli.table4_run import chart_path, check_places, choice_of, parse_size
from flashtalk.engine import Pipeline, keep_freed_memory
from flashtalk.engine.stage_work import (
    decode_work,
    dit_speech_work,
    dit_step_work,
    encode_work,
    frames_work,
    speech_work,
)
from flashtalk.engine.work import Work
from flashtalk.terminal import report_console

_STARTS = 5


def cycle(args: argparse.Namespace) -> int:
    """Measures, writes, prints; returns the exit code."""
    choice = choice_of(args)
    choice.check()
    check_between("steps", args.steps, 1, MOST_STEPS)
    check_between("warmup", args.warmup, 0, MOST_CALLS)
    check_between("chunks", args.chunks, 1, MOST_CALLS)
    size_hw = parse_size(args)
    check_places(args)
    with Interrupts(), enough_memory(args.device):
        if args.threads is not None:
            torch.set_num_threads(args.threads)
        keep_freed_memory()
        average = load_average()
        report = measure(choice, size_hw, args.steps, args.warmup, args.chunks)
    report["load_average"] = average
    save_report(report, args.out)
    chart = chart_path(args)
    if chart is not None:
        bars = [
            Bar(TITLES[name], stage["p50_ms"], stage["p95_ms"], stage.get("limit_ms"))
            for name, stage in report["stages"].items()
        ]
        draw_bars(bars, f"{report['title']}\n{report['machine_line']}", chart)
    console = report_console()
    show(report, console)
    for path in (args.out, chart):
        if path is not None:
            console.print(f"{path}: written", highlight=False, soft_wrap=True, markup=False)
    return 0


def measure(
    choice: PipelineChoice,
    size_hw: tuple[int, int] | None,
    step_count: int | None,
    warmup: int,
    count: int,
) -> dict[str, Any]:
    """Returns the contents of the JSON; ``None``: the weights' default size and steps."""
    device = choice.placement().device
    with steps(6) as tick:
        tick("peaks of this machine")
        peaks = measure_peaks(device)
        tick("models")
        began_s = time.perf_counter()
        pipeline = choice.build()
        load_s = time.perf_counter() - began_s
        tick("first session")
        talk = talk_of(pipeline, size_hw, step_count)
        cold = measure_start(talk)
        tick("chunks")
        found = measured(talk, warmup, count)
        tick("starts")
        starts = [measure_start(talk) for _ in range(_STARTS)]
        # Repeated: other programs may have disturbed the first measurement of the peaks.
        tick("peaks of this machine")
        peaks = peaks.or_better(measure_peaks(device))
    report = report_of(choice, talk, peaks, found)
    report["startup"] = startup_row(load_s, cold, starts)
    return report


def talk_of(pipeline: Pipeline, size_hw: tuple[int, int] | None, step_count: int | None) -> Talk:
    """Returns a session of synthetic sound and portrait, with the weights' defaults."""
    sampling = pipeline.sampling
    if step_count is not None:
        sampling = dataclasses.replace(sampling, steps=step_count)
    size = size_hw or sampling.size_hw
    return Talk(pipeline, portrait(None, size), sound(None, pipeline.spec.pcm_hz), size, sampling)


@dataclasses.dataclass(frozen=True)
class Chunks:
    """Measures some chunks of one session, their warm-up, and their memory."""

    warmup_s: float
    times: Measured
    memory: dict[str, int | None]


def measured(talk: Talk, warmup: int, count: int) -> Chunks:
    """Makes the warm-up chunks and the measured ones."""
    device = next(talk.pipeline.denoiser.network.parameters()).device
    reset_peak(device)
    warmup_s, times = measure_chunks(talk, warmup, count, lambda: None)
    return Chunks(warmup_s, times, device_memory(device))


def report_of(choice: PipelineChoice, talk: Talk, peaks: Peaks, found: Chunks) -> dict[str, Any]:
    """Returns the times of chunks, with the work and the limit of each stage."""
    pipeline, times = talk.pipeline, found.times
    work, stages = stages_work(talk), {}
    precision_of = {
        "audio": "float32",
        "denoise": choice.precision_name,
        "decode": str(next(pipeline.codec.vae.parameters()).dtype).removeprefix("torch."),
        "color": "float32",
    }
    precision_of["motion"] = precision_of["decode"]
    for name in TITLES:
        values_s = _rest_s(times) if name == REST else times.stages_s[name]
        spread = Spread.of(values_s)
        p50_ms = 1e3 * spread.p50
        stages[name] = {"p50_ms": p50_ms, "p95_ms": 1e3 * spread.p95, "count": spread.count}
        if name in work:
            limit = Limit.of(work[name], peaks, precision_of[name])
            stages[name] |= work_row(p50_ms, work[name], limit)
    return as_json(choice, talk, peaks, stages, times) | {
        "warmup_s": found.warmup_s,
        "memory": found.memory,
    }


def startup_row(load_s: float, cold: StreamStart, warm: list[StreamStart]) -> dict[str, float]:
    """Returns the two numbers of a start, and the time before it; medians."""
    return {
        "sound_s": statistics.median(start.sound_s for start in warm),
        "computing_s": statistics.median(start.computing_s for start in warm),
        "computing_cold_s": cold.computing_s,
        "condition_s": statistics.median(start.condition_s for start in warm),
        "condition_cold_s": cold.condition_s,
        "load_s": load_s,
    }


def stages_work(talk: Talk) -> dict[str, Work]:
    """Returns the work of each stage that can be counted."""
    pipeline, size_hw = talk.pipeline, talk.size_hw
    dit, vae, spec = pipeline.denoiser.network, pipeline.codec.vae, pipeline.spec
    assert size_hw is not None
    of_vae = next(vae.parameters()).dtype
    batch = 1 if talk.sampling.audio_guidance == 1 else 2
    step = dit_step_work(dit.config, spec, size_hw, dit.dtype, batch)
    speech = dit_speech_work(dit.config, spec, dit.dtype, batch)
    return {
        "audio": speech_work(pipeline.audio.model.config, spec),
        "denoise": speech + step.times(talk.sampling.steps),
        "decode": decode_work(vae.config, spec, size_hw, of_vae),
        "color": frames_work(spec, size_hw),
        "motion": encode_work(vae.config, spec, size_hw, of_vae),
    }


def _rest_s(times: Measured) -> list[float]:
    """Returns the time of a chunk outside of its stages."""
    named = [name for name in TITLES if name != REST]
    parts = zip(*(times.stages_s[name] for name in named), strict=True)
    return [max(0.0, whole - sum(each)) for whole, each in zip(times.chunks_s, parts, strict=True)]
