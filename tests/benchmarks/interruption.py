"""``python -m tests.benchmarks.interruption``: is a cut seen, and how soon is it answered?

The shipped weights through the suite as processes. A portrait speaks, is interrupted at a frame in
the middle of a chunk, says something else, and so on. A cut that is not seen changes the picture
as much as the border between two chunks does, which the evaluation bounds (docs/evaluation.md).

Legend: T frames, H W pixels, C channels (3), S samples.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from flashtalk.arrays import Rgb
from flashtalk.cli.bench_inputs import sound
from flashtalk.cli.bench_report import machine
from flashtalk.client import FlashTalkClient, FrameDecoder, SessionStream
from flashtalk.streaming import Pcm, StreamSpec
from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as pb
from services.local import LocalConfig, local_suite
from tests.patience import patient
from training.evaluate.fidelity import frame_change

_SPOKEN_CHUNKS = 3
_STRIP = 5


@dataclass
class Shown:
    """What a viewer saw.

    Args:
        pictures: in order.
        chunks: chunk of each.
        cuts: frames that are the first after an interruption.
        answers_s: from asking to the answer.
        stale: frames of the old epoch that came after an answer.
    """

    pictures: list[Rgb] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    answers_s: list[float] = field(default_factory=list)
    stale: int = 0


class Viewer:
    """Speaks into a session, cuts itself short and looks.

    Args:
        stream: of a session with raw frames.
        pcm_S: speech, read again from its beginning when it is over.
    """

    def __init__(self, stream: SessionStream, pcm_S: Pcm) -> None:
        self._stream, self._pcm_S, self._at = stream, pcm_S, 0
        spec = stream.session.spec
        self._decoder = FrameDecoder(
            stream.session.video_codec, (spec.size.height_px, spec.size.width_px)
        )
        self._epoch = 0
        self.shown = Shown()

    async def speak(self, samples: int) -> None:
        """The next piece of speech."""
        index_S = np.arange(self._at, self._at + samples) % len(self._pcm_S)
        self._at += samples
        await self._stream.push_audio(self._pcm_S[index_S])

    async def cut(self, at: int) -> None:
        """Watches until frame ``at`` was shown, and interrupts right after it."""
        while len(self.shown.pictures) <= at:
            self._take(await anext(self._stream))
        begun_s = time.perf_counter()
        asking = asyncio.create_task(self._stream.interrupt(at))
        while not asking.done():
            event = await anext(self._stream)
            if isinstance(event, stream_pb2.Interrupted):
                self.shown.answers_s.append(time.perf_counter() - begun_s)
                self._epoch = event.epoch
                del self.shown.pictures[event.played_frames :]
                del self.shown.chunks[event.played_frames :]
                self.shown.cuts.append(event.played_frames)
                break
            self._take(event)
        await asking

    async def rest(self) -> None:
        """Watches to the end."""
        await self._stream.finish()
        async for event in self._stream:
            self._take(event)

    def _take(self, event: Any) -> None:
        if isinstance(event, stream_pb2.Frame):
            self.shown.stale += event.epoch != self._epoch
            self.shown.pictures.append(self._decoder.decode(event))
            self.shown.chunks.append(event.chunk_index)


async def watch(image: Path, audio: Path, cuts: int, tick: Any) -> Shown:
    """A session with so many interruptions."""
    spec, draw = StreamSpec(), random.Random(0)
    with tempfile.TemporaryDirectory(prefix="flashtalk-bench-") as folder:
        environment = dict(os.environ)  # noqa: TID251 - what a shell would hand on
        config = LocalConfig(environment, Path(folder), start_s=patient(240))
        async with local_suite(config) as suite, FlashTalkClient(suite.gateway) as client:
            session = await client.create_session(
                image,
                video_codec=media_pb2.VIDEO_CODEC_RAW_RGB24,
                idle_policy=pb.IDLE_POLICY_WAIT,
                pacing=pb.PACING_UNLIMITED,
            )
            async with client.stream(session) as stream:
                viewer, at = Viewer(stream, sound(audio, spec.pcm_hz)), 0
                await viewer.speak(_SPOKEN_CHUNKS * spec.new_samples)
                for _ in range(cuts):
                    # In the second chunk after the cut before, never at its border.
                    at += spec.new_frames + draw.randrange(2, spec.new_frames - 1)
                    await viewer.cut(at)
                    await viewer.speak(_SPOKEN_CHUNKS * spec.new_samples)
                    tick()
                await viewer.rest()
    return viewer.shown


def figures(shown: Shown) -> dict[str, Any]:
    """Mean absolute change of the picture at cuts and at chunk borders, over that elsewhere.

    ``restart_ratio`` is what a viewer would see if the avatar began anew at each cut.
    """
    change_T = frame_change(np.stack(shown.pictures))
    before = np.asarray(shown.cuts) - 1
    borders = np.flatnonzero(np.diff(shown.chunks))
    borders = np.setdiff1d(borders, before)
    inside = np.setdiff1d(np.arange(len(change_T)), np.concatenate((borders, before)))
    at_cuts, at_borders, usual = (change_T[i].mean() for i in (before, borders, inside))
    first_HWC = shown.pictures[0].astype(np.float32)
    restarts = [np.abs(shown.pictures[cut - 1] - first_HWC).mean() for cut in shown.cuts]
    p50, p95 = np.percentile(np.asarray(shown.answers_s) * 1e3, (50, 95))
    return {
        "interruptions": len(shown.cuts),
        "frames": len(shown.pictures),
        "stale_frames": shown.stale,
        "cut_ratio": round(float(at_cuts / usual), 3),
        "cut_to_border": round(float(at_cuts / at_borders), 3),
        "restart_ratio": round(float(np.mean(restarts) / usual), 3),
        "border_ratio": round(float(at_borders / usual), 3),
        "answer_p50_ms": round(float(p50), 1),
        "answer_p95_ms": round(float(p95), 1),
    }


def strip(shown: Shown, cuts: Sequence[int]) -> Image.Image:
    """A row for each cut: frames before it, frames after it, a line in between."""
    rows = []
    for cut in cuts:
        pictures = shown.pictures[cut - _STRIP : cut + _STRIP]
        line_HWC = np.full((pictures[0].shape[0], 4, 3), 255, np.uint8)
        rows.append(np.concatenate((*pictures[:_STRIP], line_HWC, *pictures[_STRIP:]), axis=1))
    return Image.fromarray(np.concatenate(rows))


def main() -> int:
    """Measures, prints, writes JSON and a picture."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.interruption", description=__doc__
    )
    parser.add_argument("--cuts", type=int, default=12, help="interruptions (%(default)s)")
    parser.add_argument("--image", type=Path, default=Path("examples/portrait.png"))
    parser.add_argument("--audio", type=Path, default=Path("examples/speech.wav"))
    parser.add_argument("--out", type=Path, help="JSON file to write; the picture lies beside it")
    given = parser.parse_args()
    console = Console()
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("interruptions", total=given.cuts)
        shown = asyncio.run(
            watch(given.image, given.audio, given.cuts, lambda: progress.advance(bar))
        )
    found = figures(shown)
    table = Table(title=f"{found['interruptions']} interruptions in {found['frames']} frames")
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in list(found.items())[2:]:
        table.add_row(name.replace("_", " "), str(value))
    console.print(table)
    if given.out is not None:
        given.out.write_text(json.dumps({"machine": machine(), **found}, indent=2) + "\n")
        strip(shown, shown.cuts[:4]).save(given.out.with_suffix(".png"))
        console.print(f"{given.out}: written", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
