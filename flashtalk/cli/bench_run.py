"""Runs ``flashtalk bench``: checks everything, measures, saves, and then prints."""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time

import torch
from rich.progress import Progress

from flashtalk.arrays import Rgb
from flashtalk.bounds import check_above, check_between
from flashtalk.cli.bench import DTYPES
from flashtalk.cli.bench_inputs import portrait, sound
from flashtalk.cli.bench_report import Findings, Setting, as_json, load_average, show
from flashtalk.cli.bench_soak import Soak, peak_rss_bytes, soak
from flashtalk.cli.bench_stages import Talk, measure_chunks, measure_session, measure_sessions
from flashtalk.cli.interrupt import Interrupts
from flashtalk.cli.limits import (
    MOST_GUIDANCE,
    MOST_STEPS,
    check_preset,
    check_report,
    check_weights,
    save_report,
)
from flashtalk.cli.memory import enough_memory
from flashtalk.cli.overlay_option import overlays_of, with_overlays
from flashtalk.engine import (
    Pipeline,
    Sampling,
    keep_freed_memory,
    load_pipeline,
)
from flashtalk.engine.compiled import check_compiler
from flashtalk.engine.random_preset import random_preset
from flashtalk.errors import InputError
from flashtalk.streaming import Pcm, parse_size_hw, preset_spec
from flashtalk.terminal import live_console, report_console

MEMORY_GREW = 1
_MOST_CHUNKS, _MOST_THREADS, _MOST_MINUTES = 10_000, 1_024, 1_440


def bench(args: argparse.Namespace) -> int:
    """Measures, writes the JSON, prints the tables; returns the exit code."""
    size_hw = _checked(args)
    face_HWC, speech_S = portrait(args.image), sound(args.audio, preset_spec(args.preset).pcm_hz)
    with Interrupts(), enough_memory(args.device):
        return _bench(args, size_hw, face_HWC, speech_S)


def _bench(
    args: argparse.Namespace, size_hw: tuple[int, int] | None, face_HWC: Rgb, speech_S: Pcm
) -> int:
    average = load_average()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    keep_freed_memory()
    began_s = time.perf_counter()
    pipeline = _pipeline(args)
    load_s = time.perf_counter() - began_s
    talk = Talk(pipeline, face_HWC, speech_S, size_hw, _sampling(args, pipeline.sampling))
    findings = _measure(talk, args, load_s)
    setting = Setting(
        preset=args.preset,
        weights=with_overlays(
            "random" if args.random else args.weights.name if args.weights else "shipped",
            overlays_of(args),
        ),
        size_hw=talk.start().reference.size_hw,
        sampling=talk.sampling,
        compiled=args.compile == "on",
        warmup=args.warmup,
        load_average=average,
    )
    report = as_json(pipeline, setting, findings)
    # The file first: printing fails if the reader has closed the output.
    if args.out is not None:
        save_report(report, args.out)
    console = report_console()
    show(report, console)
    if args.out is not None:
        console.print(f"{args.out}: written", highlight=False, soft_wrap=True, markup=False)
    return 0 if findings.soak is None or findings.soak.flat else MEMORY_GREW


def _measure(talk: Talk, args: argparse.Namespace, load_s: float) -> Findings:
    with Progress(console=live_console(), transient=True) as progress:
        chunks_bar = progress.add_task("chunks", total=args.warmup + args.chunks)
        cold = measure_session(talk)
        warm_s, measured = measure_chunks(
            talk, args.warmup, args.chunks, lambda: progress.advance(chunks_bar)
        )
        sessions = measure_sessions(talk)
        long: Soak | None = None
        if args.minutes is not None:
            long_bar = progress.add_task("long stream", total=60 * args.minutes)
            long = soak(
                talk, args.minutes, lambda video_s: progress.update(long_bar, completed=video_s)
            )
    return Findings(load_s, cold, warm_s, sessions, measured, peak_rss_bytes(), long)


def _checked(args: argparse.Namespace) -> tuple[int, int] | None:
    """Returns the size; checks all options before the models are built."""
    check_preset(args.preset)
    if not args.random:
        check_weights(args.preset, args.weights)
    overlays_of(args)
    check_between("chunks", args.chunks, 1, _MOST_CHUNKS)
    check_between("warmup", args.warmup, 0, _MOST_CHUNKS)
    check_between("steps", args.steps, 1, MOST_STEPS)
    check_between("threads", args.threads, 1, _MOST_THREADS)
    check_between("audio_guidance", args.guidance, 0, MOST_GUIDANCE)
    check_above("minutes", args.minutes, _MOST_MINUTES)
    check_report(args.out)
    if args.compile == "on":
        check_compiler()
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise InputError("TMPDIR", "none", "must name a writable folder") from error
    if args.size is None:
        return None
    return parse_size_hw(args.size, spec=preset_spec(args.preset))


def _pipeline(args: argparse.Namespace) -> Pipeline:
    dtype, compiled = DTYPES[args.dtype], args.compile == "on"
    if args.random:
        return random_preset(
            args.preset,
            device=args.device,
            dtype=dtype,
            compiled=compiled,
            attention=args.attention,
        )
    return load_pipeline(
        args.preset,
        args.weights,
        device=args.device,
        dtype=dtype,
        compiled=compiled,
        attention=args.attention,
        overlays=overlays_of(args),
    )


def _sampling(args: argparse.Namespace, default: Sampling) -> Sampling:
    chosen = default
    if args.steps is not None:
        chosen = dataclasses.replace(chosen, steps=args.steps)
    if args.guidance is not None:
        chosen = dataclasses.replace(chosen, audio_guidance=args.guidance)
    return chosen
