"""``flashtalk bench``: how fast is this machine, stage by stage, and does its memory hold?

Exit codes: 0 done, 1 the memory of a long stream (``--minutes``) was not flat.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from flashtalk.cli import capacity
from flashtalk.cli.bench_inputs import portrait, sound
from flashtalk.cli.bench_report import Findings, Setting, as_json, load_average, save, show
from flashtalk.cli.bench_soak import Soak, peak_rss_bytes, soak
from flashtalk.cli.bench_stages import Talk, measure_chunks, measure_session, measure_sessions
from flashtalk.engine import (
    PRESETS,
    Architecture,
    Pipeline,
    Sampling,
    keep_freed_memory,
    load_pipeline,
)
from flashtalk.engine import random_pipeline as build_random
from flashtalk.errors import InputError
from flashtalk.streaming import parse_size_hw

MEMORY_GREW = 1
DTYPES = {"auto": "auto", "fp32": "float32", "bf16": "bfloat16"}
_ARCHITECTURES = {"tiny": Architecture.tiny, "flashtalk-14b": Architecture.flashtalk_14b}
_MOST_CHUNKS, _MOST_STEPS, _MOST_MINUTES = 10_000, 1_000, 1_440


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``bench`` to the commands."""
    parser = subparsers.add_parser(
        "bench",
        help="measure each stage on this machine",
        description="Measure each stage of the chunk loop; docs/performance.md explains the table.",
        allow_abbrev=False,
    )
    parser.add_argument("--preset", default="tiny", help="tiny (default) or flashtalk-14b")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--weights", type=Path, help="folder of the weights; tiny brings its own")
    source.add_argument("--random", action="store_true", help="random weights of the preset")
    parser.add_argument("--image", type=Path, help="portrait; default a drawn one")
    parser.add_argument("--audio", type=Path, help="sound, repeated; default a drawn one")
    parser.add_argument("--size", help="WxH in pixels, multiples of 16")
    parser.add_argument("--chunks", type=int, default=20, help="chunks counted (default 20)")
    parser.add_argument("--warmup", type=int, default=3, help="chunks made before (default 3)")
    parser.add_argument("--guidance", type=float, help="audio guidance; 1 is none")
    parser.add_argument("--steps", type=int, help="network evaluations per chunk")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, ...")
    parser.add_argument("--dtype", default="auto", choices=DTYPES, help="of the models")
    parser.add_argument(
        "--compile", default="off", choices=("on", "off"), help="torch.compile the transformer"
    )
    parser.add_argument("--threads", type=int, help="of torch; default its own choice")
    parser.add_argument(
        "--minutes", type=float, help="also stream so many minutes of sound and watch the memory"
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.set_defaults(run=run)
    capacity.add_parser(parser.add_subparsers(metavar="TABLE", help="instead of measuring:"))


def run(args: argparse.Namespace) -> int:
    """Measure, print the tables, write the JSON."""
    size_hw = _checked(args)
    average = load_average()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    keep_freed_memory()
    console = Console()
    began_s = time.perf_counter()
    pipeline = _pipeline(args)
    load_s = time.perf_counter() - began_s
    if args.compile == "on":
        pipeline.denoiser.dit.compile()
    talk = Talk(
        pipeline,
        portrait(args.image),
        sound(args.audio, pipeline.spec),
        size_hw,
        _sampling(args, pipeline.sampling),
    )
    findings = _measure(talk, args, load_s, console)
    setting = Setting(
        preset=args.preset,
        weights="random" if args.random else args.weights.name if args.weights else "shipped",
        size_hw=talk.start().reference.size_hw,
        sampling=talk.sampling,
        compiled=args.compile == "on",
        warmup=args.warmup,
        load_average=average,
    )
    report = as_json(pipeline, setting, findings)
    show(report, console)
    if args.out is not None:
        save(report, args.out)
        console.print(f"{args.out}: written", highlight=False, soft_wrap=True)
    return 0 if findings.soak is None or findings.soak.flat else MEMORY_GREW


def _measure(talk: Talk, args: argparse.Namespace, load_s: float, console: Console) -> Findings:
    with Progress(console=console, transient=True) as progress:
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
    """The size; everything that can be wrong is told before the models are built."""
    if args.preset not in PRESETS:
        raise InputError("preset", args.preset, f"one of {', '.join(PRESETS)}")
    limits = {
        "chunks": (1, _MOST_CHUNKS),
        "warmup": (0, _MOST_CHUNKS),
        "steps": (1, _MOST_STEPS),
        "threads": (1, 1_024),
    }
    for name, (least, most) in limits.items():
        value = getattr(args, name)
        if value is not None and not least <= value <= most:
            raise InputError(name, value, f"{least} .. {most}")
    if args.minutes is not None and not 0 < args.minutes <= _MOST_MINUTES:
        raise InputError("minutes", args.minutes, f"above 0, at most {_MOST_MINUTES}")
    if args.out is not None and (args.out.is_dir() or not args.out.parent.is_dir()):
        raise InputError("out", args.out, "a file in a folder that exists")
    if args.compile == "on" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise InputError("compile", "on", "needs a C++ compiler, such as g++")
    return parse_size_hw(args.size) if args.size else None


def _pipeline(args: argparse.Namespace) -> Pipeline:
    dtype = DTYPES[args.dtype]
    if args.random:
        architecture = _ARCHITECTURES[args.preset]()
        sampling = None if args.preset == "tiny" else Sampling()
        return build_random(architecture, sampling=sampling, device=args.device, dtype=dtype)
    return load_pipeline(args.preset, args.weights, device=args.device, dtype=dtype)


def _sampling(args: argparse.Namespace, default: Sampling) -> Sampling:
    chosen = default
    if args.steps is not None:
        chosen = dataclasses.replace(chosen, steps=args.steps)
    if args.guidance is not None:
        chosen = dataclasses.replace(chosen, audio_guidance=args.guidance)
    return chosen
