"""Generates the video of ``flashtalk generate``.

torch takes seconds to import, so all inputs are checked before.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flashtalk.bounds import check_seed
from flashtalk.cli.interrupt import Interrupts
from flashtalk.cli.limits import (
    check_precision,
    check_preset,
    check_prompt,
    check_steps,
    check_weights,
)
from flashtalk.cli.overlay_option import overlays_of
from flashtalk.cli.progress import progress_bar, summary
from flashtalk.errors import InputError
from flashtalk.media import Mp4Writer, check_target, inspect_audio, read_image, stream_pcm
from flashtalk.media.image import around_face, read_box
from flashtalk.presets import TINY
from flashtalk.streaming import StreamSpec, frame_count, parse_size_hw, preset_spec
from flashtalk.terminal import INTERRUPTED, say, tell

if TYPE_CHECKING:
    from flashtalk.engine import ChunkResult

TINY_NOTE = (
    "preset tiny was trained on procedural faces only; a photograph gives such a face, not "
    "the person"
)


def generate(args: argparse.Namespace) -> int:
    """Checks everything possible before the models are loaded, then generates the video."""
    size_hw, overlays = _checked(args), overlays_of(args)
    portrait_HWC = read_image(args.image, tell)
    if args.face is not None:
        portrait_HWC = around_face(portrait_HWC, read_box(args.face))
    facts = inspect_audio(args.audio, note=tell)
    check_target(args.out)
    for source in ("image", "audio"):
        if args.out.exists() and args.out.samefile(getattr(args, source)):
            raise InputError("out", args.out, f"must not be the {source} file itself")
    from flashtalk.cli.memory import enough_memory
    from flashtalk.engine import keep_freed_memory, load_pipeline, start, talk_on

    keep_freed_memory()

    with Interrupts() as interrupts, enough_memory(args.device):
        pipeline = load_pipeline(
            args.preset, args.weights, device=args.device, dtype=args.dtype, overlays=overlays
        )
        if pipeline.name == TINY:
            say(TINY_NOTE)
        sampling = pipeline.sampling
        if args.steps is not None:
            sampling = dataclasses.replace(sampling, steps=args.steps)
        made = Made(pipeline.spec, facts.samples)
        session = start(
            pipeline,
            portrait_HWC,
            prompt=args.prompt,
            seed=args.seed,
            size_hw=size_hw,
            sampling=sampling,
        )
        results = talk_on(pipeline, session, stream_pcm(args.audio, pipeline.spec.pcm_hz))
        try:
            write_video(results, args.out, session.reference.size_hw, made, interrupts)
        except KeyboardInterrupt:
            say(made.stopped(args.out))
            return INTERRUPTED
    say(f"{args.out}: {made.summary()}")
    return 0


def _checked(args: argparse.Namespace) -> tuple[int, int] | None:
    """Returns the size; checks the options by themselves."""
    size_hw = None
    if args.size is not None:
        size_hw = parse_size_hw(args.size, spec=preset_spec(args.preset))
    check_steps(args.steps)
    check_seed(args.seed)
    check_preset(args.preset)
    check_prompt(args.prompt, args.preset)
    check_precision(args.dtype)
    check_weights(args.preset, args.weights)
    return size_hw


@dataclass
class Made:
    """The progress and speed of a generation.

    Args:
        spec: spec of the stream.
        samples: length of the sound.
        frames: number of written frames.
        began_s: when the loaded models got the portrait (``time.perf_counter``).
        first_frame_s: from then to the first frame.
    """

    spec: StreamSpec
    samples: int
    frames: int = 0
    began_s: float = field(default_factory=time.perf_counter)
    first_frame_s: float = 0.0

    @property
    def elapsed_s(self) -> float:
        """Returns the seconds since the begin."""
        return time.perf_counter() - self.began_s

    @property
    def fps(self) -> float:
        """Returns the frames per second of generation."""
        return self.frames / max(self.elapsed_s, 1e-9)

    def add(self, result: ChunkResult) -> None:
        """Counts a finished chunk."""
        if not self.frames:
            self.first_frame_s = self.elapsed_s
        self.frames += len(result.frames_THWC)

    def summary(self) -> str:
        """One line for people and scripts; a real_time_factor below 1 is faster than real time."""
        return summary(self.frames, self.spec.fps, self.elapsed_s, self.first_frame_s)

    def stopped(self, out: Path) -> str:
        """Returns the line after an interrupt."""
        if not self.frames:
            return "stopped: no frames, nothing was written"
        return f"stopped: {out} contains the frames so far; {self.summary()}"


def write_video(
    results: Iterator[ChunkResult],
    out: Path,
    size_hw: tuple[int, int],
    made: Made,
    interrupts: Interrupts,
) -> None:
    """Writes each chunk; an interrupt takes effect between chunks and finishes the file."""
    spec = made.spec
    with ExitStack() as stack:
        with interrupts.hold():
            writer = Mp4Writer(out, fps=spec.fps, size_hw=size_hw, pcm_hz=spec.pcm_hz)
            stack.enter_context(writer)
        progress, task = stack.enter_context(progress_bar(frame_count(made.samples, spec)))
        for result in results:
            with interrupts.hold():
                made.add(result)
                writer.write(result.frames_THWC, result.pcm_S)
            progress.update(task, completed=made.frames, fps=f"{made.fps:.1f}")
        with interrupts.hold():
            writer.close()
