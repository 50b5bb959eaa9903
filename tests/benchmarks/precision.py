"""``python -m tests.benchmarks.precision``: what a precision costs the shipped weights' pictures.

The same portraits, speech and seeds in float32 and in the other precisions, on held-out clips:
signal to noise of the frames against those in float32 (the first chunk apart, since later ones
continue what came before), and how well the lips follow the speech (LipCorr).

Prints a table, writes JSON. Float8 is emulated where the device has none: right numbers, no speed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from flashtalk.arrays import Frames
from flashtalk.cli.bench_report import machine
from flashtalk.engine import Pipeline, keep_freed_memory, load_pipeline, talk
from training.evaluate.held_out import ClipSet, open_clips
from training.evaluate.quick import quick_lip_corr

EXACT, OTHERS = "float32", ("bfloat16", "float8")


def performed(pipeline: Pipeline, clips: ClipSet, progress: Progress) -> list[Frames]:
    """Frames of every clip's portrait and speech."""
    videos = []
    for index in progress.track(range(len(clips)), description="clips"):
        clip = clips[index]
        size_hw = clip.portrait_HWC.shape[:2]
        portrait = np.ascontiguousarray(clip.portrait_HWC)
        chunks = talk(pipeline, portrait, [clip.pcm_N], seed=index, size_hw=size_hw)
        videos.append(np.concatenate([chunk.frames_THWC for chunk in chunks]))
    return videos


def signal_to_noise_db(found: Frames, exact: Frames) -> float:
    """Peak signal to noise ratio of bytes."""
    error = float(np.square(found.astype(np.float64) - exact).mean())
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def lip_corr(videos: list[Frames], clips: ClipSet) -> float:
    """Of all clips together."""
    truth = [clips[i].track("openness")[: len(video)] for i, video in enumerate(videos)]
    shown = [video[: len(track)] for video, track in zip(videos, truth, strict=True)]
    return quick_lip_corr(np.concatenate(shown), np.concatenate(truth))


def measure(weights: Path | None, clips: ClipSet, console: Console) -> dict[str, Any]:
    """Every precision."""
    found: dict[str, Any] = {}
    exact: list[Frames] = []
    with Progress(console=console, transient=True) as progress:
        for dtype in (EXACT, *OTHERS):
            pipeline = load_pipeline("tiny", weights, device="cpu", dtype=dtype)
            videos = performed(pipeline, clips, progress)
            exact = exact or videos
            first = pipeline.spec.new_frames
            pairs = list(zip(videos, exact, strict=True))
            found[dtype] = {
                "first_chunk_db": float(
                    np.median([signal_to_noise_db(a[:first], b[:first]) for a, b in pairs])
                ),
                "all_db": float(np.median([signal_to_noise_db(a, b) for a, b in pairs])),
                "lip_corr": lip_corr(videos, clips),
            }
    return found


def main() -> int:
    """Measures, prints, writes JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.precision", description=__doc__
    )
    parser.add_argument("--clips", type=int, default=8, help="held-out ones (%(default)s)")
    parser.add_argument("--seconds", type=float, default=6, help="of each (%(default)s)")
    parser.add_argument("--weights", type=Path, help="other ones than those that are shipped")
    parser.add_argument("--cache", type=Path, default=Path(".cache/precision"))
    parser.add_argument("--size-px", type=int, default=96, help="of the pictures (%(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    given = parser.parse_args()
    keep_freed_memory()
    console, size_hw = Console(), (given.size_px, given.size_px)
    clips = open_clips(
        (), given.cache, split="test", count=given.clips, seconds=given.seconds, size_hw=size_hw
    )
    found = measure(given.weights, clips, console)
    table = Table(title=f"{given.clips} held-out clips of {given.seconds:g} s")
    table.add_column("")
    for column in ("first chunk, dB", "all, dB", "LipCorr"):
        table.add_column(column, justify="right")
    for dtype, row in found.items():
        decibels = (f"{row[key]:.1f}" for key in ("first_chunk_db", "all_db"))
        table.add_row(dtype, *decibels, f"{row['lip_corr']:.3f}")
    console.print(table)
    if given.out is not None:
        written = {"machine": machine(), "clips": given.clips, "precisions": found}
        given.out.write_text(json.dumps(written, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
