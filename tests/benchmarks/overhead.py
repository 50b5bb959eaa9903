"""``python -m tests.benchmarks.overhead``: what gateway, transport and store add to a chunk.

Two parts. The shipped weights: chunk after chunk, one made by the engine in this process and one by
the suite as processes, in turn, so that both see the same machine. And the payloads of the
flashtalk-14b preset at 720x416 through stand-in workers that take no time: what is left is the cost
of moving them.

A chunk's time is from its last sample leaving the caller to its last frame there.

Legend: S samples.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from flashtalk.cli.bench_inputs import packets, portrait, sound
from flashtalk.cli.bench_report import load_average, machine
from flashtalk.cli.spread import Spread
from flashtalk.client import Event, FlashTalkClient, SessionStream
from flashtalk.engine import Pipeline, Session, advance, keep_freed_memory, load_pipeline, start
from flashtalk.media.h264 import ChunkEncoder
from flashtalk.streaming import AudioChunk, Pcm, StreamSpec, chunks
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2
from services.local import WORKERS, LocalConfig, local_suite
from tests.benchmarks.rig import FREE_S, as_figures, rig
from tests.patience import patient

LARGE_HW = (416, 720)
LARGE_FEATURES = (35, 12, 768)
LARGE_FRAME_BYTES = 7_000
_STAGES = ("audio", "denoise", "decode", "commit")


@dataclass(frozen=True)
class Counted:
    """Of so many ``chunks`` those after the first ``warm_up`` count."""

    warm_up: int
    chunks: int


@dataclass
class Times:
    """Seconds, of every chunk that counts.

    Args:
        chunk_s: its time; first_frame_s: to its first frame.
        stages_s: as the gateway saw them, calls included.
    """

    chunk_s: list[float] = field(default_factory=list)
    first_frame_s: list[float] = field(default_factory=list)
    stages_s: dict[str, list[float]] = field(default_factory=lambda: {s: [] for s in _STAGES})


class SuiteChunks:
    """A session of a running suite, a chunk at a time."""

    def __init__(self, stream: SessionStream) -> None:
        self._stream = stream
        self.times = Times()

    @classmethod
    @asynccontextmanager
    async def open(cls, gateway: str, image: Path) -> AsyncIterator[SuiteChunks]:
        """A new session."""
        async with FlashTalkClient(gateway) as client:
            session = await client.create_session(
                image, idle_policy=pb.IDLE_POLICY_WAIT, pacing=pb.PACING_UNLIMITED
            )
            async with client.stream(session) as stream:
                yield cls(stream)

    async def make(self, pcm_S: Pcm, *, counts: bool) -> None:
        """One chunk of exactly one chunk's sound."""
        begun_s, first_s = time.perf_counter(), 0.0
        await self._stream.push_audio(pcm_S)
        event: Event | None = None
        while not isinstance(event, stream_pb2.ChunkReport):
            event = await anext(self._stream)
            if isinstance(event, stream_pb2.Frame) and not first_s:
                first_s = time.perf_counter() - begun_s
        took_s = time.perf_counter() - begun_s
        if not counts:
            return
        self.times.chunk_s.append(took_s)
        self.times.first_frame_s.append(first_s)
        for stage in event.stages:
            if stage.stage in _STAGES:
                self.times.stages_s[stage.stage].append(stage.duration.ToNanoseconds() / 1e9)


class EngineChunks:
    """The same session in this process, H.264 included."""

    def __init__(self, pipeline: Pipeline, image: Path) -> None:
        self._pipeline = pipeline
        self._session: Session = start(pipeline, portrait(image))
        self.chunk_s: list[float] = []

    def make(self, chunk: AudioChunk, *, counts: bool) -> None:
        """One chunk."""
        begun_s = time.perf_counter()
        result, self._session = advance(self._pipeline, self._session, chunk)
        encoder = ChunkEncoder(size_hw=self._session.reference.size_hw, fps=self._pipeline.spec.fps)
        for frame_HWC in result.frames_THWC:
            encoder.encode(frame_HWC)
        if counts:
            self.chunk_s.append(time.perf_counter() - begun_s)


async def measure_tiny(
    image: Path, audio: Path, weights: Path | None, counted: Counted, tick: Callable[[], None]
) -> tuple[Times, list[float]]:
    """The suite's times and the engine's."""
    keep_freed_memory()
    pipeline = load_pipeline("tiny", weights)
    spec = pipeline.spec
    engine = EngineChunks(pipeline, image)
    total = counted.chunks * spec.new_samples
    parts = chunks(packets(sound(audio, spec.pcm_hz), total, spec.pcm_hz), spec)
    with tempfile.TemporaryDirectory(prefix="flashtalk-bench-") as folder:
        environment = dict(os.environ)  # noqa: TID251 - what a shell would hand on
        if weights is not None:
            environment |= {f"FLASHTALK_{name.upper()}_WEIGHTS": str(weights) for name in WORKERS}
        config = LocalConfig(environment, Path(folder), start_s=patient(240))
        async with (
            local_suite(config) as suite,
            SuiteChunks.open(suite.gateway, image) as made,
        ):
            for number, chunk in enumerate(parts):
                counts = number >= counted.warm_up
                await made.make(chunk.pcm_S[-spec.new_samples :], counts=counts)
                engine.make(chunk, counts=counts)
                tick()
    return made.times, engine.chunk_s


async def measure_large(image: Path, counted: Counted, tick: Callable[[], None]) -> Times:
    """Chunks of 720x416 whose workers take no time."""
    spec = StreamSpec()
    noise = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="flashtalk-bench-") as folder:
        async with (
            rig(
                Path(folder),
                FREE_S,
                slots=1,
                frame_bytes=LARGE_FRAME_BYTES,
                size_hw=LARGE_HW,
                features=LARGE_FEATURES,
            ) as running,
            SuiteChunks.open(running.target, image) as made,
        ):
            for number in range(counted.chunks):
                pcm_S = noise.normal(0, 0.1, spec.new_samples).astype(np.float32)
                await made.make(pcm_S, counts=number >= counted.warm_up)
                tick()
    return made.times


def spread_ms(values_s: Sequence[float]) -> dict[str, float]:
    """p50 and p95 in milliseconds."""
    spread = Spread.of(values_s)
    return {"p50_ms": spread.p50 * 1e3, "p95_ms": spread.p95 * 1e3}


def report(tiny: Times, engine_s: Sequence[float], large: Times) -> dict[str, Any]:
    """Everything, as it is written into JSON."""
    ratios = [s / e for s, e in zip(tiny.chunk_s, engine_s, strict=True)]
    parts: dict[str, Mapping[str, Sequence[float]]] = {
        "tiny": {
            "engine chunk": engine_s,
            "suite chunk": tiny.chunk_s,
            "first frame": tiny.first_frame_s,
            **{f"stage {name}": values for name, values in tiny.stages_s.items()},
            "suite less engine": [s - e for s, e in zip(tiny.chunk_s, engine_s, strict=True)],
        },
        "720x416 payloads": {
            "chunk": large.chunk_s,
            "first frame": large.first_frame_s,
            **{f"stage {name}": values for name, values in large.stages_s.items()},
        },
    }
    return {
        "suite_to_engine": float(np.median(ratios)),
        "chunks": len(ratios),
        **{
            name: {row: as_figures(spread_ms(values)) for row, values in rows.items()}
            for name, rows in parts.items()
        },
    }


def show(found: dict[str, Any], console: Console) -> None:
    """The tables."""
    for name in ("tiny", "720x416 payloads"):
        table = Table(title=f"{name}, {found['chunks']} chunks through the suite")
        for column in ("", "p50 ms", "p95 ms"):
            table.add_column(column, justify="right" if column else "left")
        for row, spread in found[name].items():
            table.add_row(row, f"{spread['p50_ms']:.1f}", f"{spread['p95_ms']:.1f}")
        console.print(table)
    ratio = found["suite_to_engine"]
    console.print(f"suite / engine, median of pairs: {ratio:.3f} ({100 * (ratio - 1):+.1f} %)")


def main() -> int:
    """Measures, prints, writes JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.overhead", description=__doc__
    )
    parser.add_argument("--chunks", type=int, default=20, help="counted (%(default)s)")
    parser.add_argument("--warm-up", type=int, default=3, help="before those (%(default)s)")
    parser.add_argument("--weights", type=Path, help="other ones than those that are shipped")
    parser.add_argument("--image", type=Path, default=Path("examples/portrait.png"))
    parser.add_argument("--audio", type=Path, default=Path("examples/speech.wav"))
    parser.add_argument("--out", type=Path, help="JSON file to write")
    given = parser.parse_args()
    console, average = Console(), load_average()
    with Progress(console=console, transient=True) as progress:
        counted = Counted(given.warm_up, given.warm_up + given.chunks)
        bar = progress.add_task("chunks", total=2 * counted.chunks)

        def tick() -> None:
            progress.advance(bar)

        large = asyncio.run(measure_large(given.image, counted, tick))
        tiny, engine_s = asyncio.run(
            measure_tiny(given.image, given.audio, given.weights, counted, tick)
        )
    found = report(tiny, engine_s, large)
    show(found, console)
    if given.out is not None:
        written = {"machine": machine(), "load_average": average, **found}
        given.out.write_text(json.dumps(written, indent=2) + "\n")
        console.print(f"{given.out}: written", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
