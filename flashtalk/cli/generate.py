"""``flashtalk generate``: a portrait and a sound file become an MP4, in one process."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flashtalk.cli.interrupt import Interrupts
from flashtalk.cli.progress import progress_bar, summary
from flashtalk.errors import InputError
from flashtalk.media import Mp4Writer, check_target, inspect_audio, read_image, stream_pcm
from flashtalk.streaming import StreamSpec, frame_count, parse_size_hw

if TYPE_CHECKING:
    from flashtalk.engine import ChunkResult

INTERRUPTED = 130
TINY_NOTE = (
    "preset tiny: it knows the procedural faces that it was trained on, not photographs; "
    "of a photograph it draws what it knows, not the person"
)
_MOST_STEPS = 1_000
_SEED_LIMIT = 2**64


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``generate`` to the commands."""
    parser = subparsers.add_parser(
        "generate",
        help="a portrait and a sound file become an MP4",
        description="Make a portrait talk: picture and speech in, MP4 (H.264, AAC) out.",
        allow_abbrev=False,
    )
    parser.add_argument("--image", required=True, type=Path, help="portrait, any picture")
    parser.add_argument("--audio", required=True, type=Path, help="speech, any sound file")
    parser.add_argument("--out", required=True, type=Path, help="video to write, *.mp4")
    parser.add_argument("--preset", default="tiny", help="tiny (default) or flashtalk-14b")
    parser.add_argument("--weights", type=Path, help="folder of the weights; tiny brings its own")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same video (default 0)")
    parser.add_argument("--size", help="WxH in pixels, multiples of 16")
    parser.add_argument("--steps", type=int, help="network evaluations per chunk")
    parser.add_argument("--prompt", help="what the scene is, in words")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, ...")
    parser.add_argument("--dtype", default="auto", help="auto (default), float32 or bfloat16")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check everything that can be checked before the models are loaded, then make the video."""
    size_hw = parse_size_hw(args.size) if args.size else None
    if args.steps is not None and not 1 <= args.steps <= _MOST_STEPS:
        raise InputError("steps", args.steps, f"1 .. {_MOST_STEPS}")
    if not 0 <= args.seed < _SEED_LIMIT:
        raise InputError("seed", args.seed, f"0 .. {_SEED_LIMIT - 1}")
    portrait_HWC = read_image(args.image)
    facts = inspect_audio(args.audio)
    check_target(args.out)
    for source in ("image", "audio"):
        if args.out.exists() and args.out.samefile(getattr(args, source)):
            raise InputError("out", args.out, f"would replace the {source}")
    # torch takes seconds to import: bad input is told before.
    from flashtalk.engine import keep_freed_memory, load_pipeline, start, talk_on

    keep_freed_memory()

    with Interrupts() as interrupts, enough_memory(args.device):
        pipeline = load_pipeline(args.preset, args.weights, device=args.device, dtype=args.dtype)
        if pipeline.name == "tiny":
            print(TINY_NOTE, flush=True)
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
            print(made.stopped(args.out), flush=True)
            return INTERRUPTED
    print(f"{args.out}: {made.summary()}", flush=True)
    return 0


@contextmanager
def enough_memory(device: str) -> Iterator[None]:
    """Turns an accelerator's lack of memory into one line."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        limit = "out of memory; `flashtalk doctor` says what fits where"
        raise InputError("device", device, limit) from error


@dataclass
class Made:
    """What was made so far, and how fast.

    Args:
        spec: the stream contract.
        samples: length of the sound.
        frames: written so far.
        began_s: when the portrait was given to the loaded models (``time.perf_counter``).
        first_frame_s: from then to the first frame.
    """

    spec: StreamSpec
    samples: int
    frames: int = 0
    began_s: float = field(default_factory=time.perf_counter)
    first_frame_s: float = 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self.began_s

    @property
    def fps(self) -> float:
        """Frames made per second."""
        return self.frames / max(self.elapsed_s, 1e-9)

    def add(self, result: ChunkResult) -> None:
        """Count a chunk that is there now."""
        if not self.frames:
            self.first_frame_s = self.elapsed_s
        self.frames += len(result.frames_THWC)

    def summary(self) -> str:
        """One line for people and scripts; a real_time_factor below 1 is faster than real time."""
        return summary(self.frames, self.spec.fps, self.elapsed_s, self.first_frame_s)

    def stopped(self, out: Path) -> str:
        """What is left after an interrupt."""
        if not self.frames:
            return "stopped: nothing was written"
        return f"stopped: {out} holds what was made; {self.summary()}"


def write_video(
    results: Iterator[ChunkResult],
    out: Path,
    size_hw: tuple[int, int],
    made: Made,
    interrupts: Interrupts,
) -> None:
    """Write every chunk as it comes; an interrupt comes between chunks and finishes the file."""
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
