"""``python -m tests.benchmarks.idle_loop``: is an idle loop seen, and what does it save?

The shipped weights through the suite as processes, in real time. A portrait speaks, is silent for
several chunks, speaks again, and so on. At the joins of the loop the picture should change no more
than at an interruption (``tests.benchmarks.interruption``).

Legend: T frames, H W pixels, C channels (3).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from flashtalk.arrays import Rgb
from flashtalk.cli.bench_inputs import sound
from flashtalk.cli.bench_report import machine
from flashtalk.client import FlashTalkClient, FrameDecoder, SessionStream
from flashtalk.streaming import StreamSpec
from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as pb
from services.local import LocalConfig, local_suite
from tests.benchmarks.callers import CHUNK_FRAMES
from tests.patience import patient
from training.evaluate.fidelity import frame_change

_SPOKEN_CHUNKS = 2
_PAUSE_CHUNKS = (5, 9)


@dataclass
class Shown:
    """What a viewer saw.

    Args:
        pictures: in order.
        chunks: chunk of each.
        computed: chunks that a model made; the others were played again.
        pauses: first frame of each pause after speech.
    """

    pictures: list[Rgb] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)
    computed: set[int] = field(default_factory=set)
    pauses: list[int] = field(default_factory=list)


async def see(stream: SessionStream, shown: Shown, frames: int) -> None:
    """Watches until so many frames were shown."""
    spec = stream.session.spec
    size_hw = (spec.size.height_px, spec.size.width_px)
    decoder = FrameDecoder(stream.session.video_codec, size_hw)
    while len(shown.pictures) < frames:
        event = await anext(stream)
        if isinstance(event, stream_pb2.Frame):
            shown.pictures.append(decoder.decode(event))
            shown.chunks.append(event.chunk_index)
        elif isinstance(event, stream_pb2.ChunkReport) and any(
            stage.stage == "denoise" for stage in event.stages
        ):
            shown.computed.add(event.chunk_index)
        elif (
            isinstance(event, stream_pb2.Activity)
            and event.kind == stream_pb2.Activity.KIND_IDLE
            and event.frame_index
        ):
            shown.pauses.append(event.frame_index)


async def watch(image: Path, audio: Path, pauses: int, tick: Any) -> Shown:
    """A session with so many pauses, each followed by speech."""
    spec, draw, shown = StreamSpec(), random.Random(0), Shown()
    pcm_S = sound(audio, spec.pcm_hz)
    said = _SPOKEN_CHUNKS * spec.new_samples
    with tempfile.TemporaryDirectory(prefix="flashtalk-bench-") as folder:
        environment = dict(os.environ)  # noqa: TID251 - what a shell would hand on
        config = LocalConfig(environment, Path(folder), start_s=patient(240))
        async with local_suite(config) as suite, FlashTalkClient(suite.gateway) as client:
            session = await client.create_session(
                image,
                video_codec=media_pb2.VIDEO_CODEC_RAW_RGB24,
                idle_policy=pb.IDLE_POLICY_LOOP,
            )
            async with client.stream(session) as stream:
                for number in range(pauses):
                    chunks = draw.randint(*_PAUSE_CHUNKS)
                    await see(stream, shown, len(shown.pictures) + chunks * spec.new_frames)
                    index_S = np.arange(number * said, (number + 1) * said) % len(pcm_S)
                    await stream.push_audio(pcm_S[index_S])
                    await stream.end_audio()
                    tick()
                await see(stream, shown, len(shown.pictures) + 4 * spec.new_frames)
            await client.delete_session(session)
    return shown


def figures(shown: Shown) -> dict[str, Any]:
    """Mean absolute change of the picture at the joins of the loop, over that inside chunks."""
    change_T = frame_change(np.stack(shown.pictures))
    chunk_T = np.asarray(shown.chunks)
    last = int(chunk_T.max())
    borders = np.flatnonzero(np.diff(chunk_T))
    inside = np.setdiff1d(np.arange(len(change_T)), borders)
    usual = change_T[inside].mean()
    kinds: dict[str, list[float]] = {}
    for border in borders:
        before, after = (int(chunk_T[border + side]) in shown.computed for side in (0, 1))
        if chunk_T[border + 1] == last:
            continue  # its report may not have come
        kind = {True: "computed", False: "played"}
        kinds.setdefault(f"{kind[before]}_to_{kind[after]}", []).append(float(change_T[border]))
    ratios = {
        f"{name}_ratio": round(float(np.mean(found) / usual), 3) for name, found in kinds.items()
    }
    return {
        "frames": len(shown.pictures),
        "computed_chunks": len(shown.computed - {last}),
        "chunks": last,
        **ratios,
        **{f"{name}_joins": len(found) for name, found in kinds.items()},
        **{
            f"jump_after_{chunks}_idle_chunks_ratio": round(float(jump / usual), 3)
            for chunks in range(3)
            if (jump := jump_to_earlier_loop(shown, chunks)) is not None
        },
    }


def jump_to_earlier_loop(shown: Shown, idle_chunks: int) -> float | None:
    """Mean absolute change from the end of speech, or of so many idle chunks after it, to the
    nearest picture of the loops of earlier pauses: what a loop would begin with that is kept from
    pause to pause, or shared between sessions. None: there was no such pause."""
    jumps = []
    for pause in shown.pauses:
        last = pause + idle_chunks * CHUNK_FRAMES - 1
        earlier = [
            picture
            for picture, chunk in zip(shown.pictures[:pause], shown.chunks, strict=False)
            if chunk not in shown.computed
        ]
        if earlier and last < len(shown.pictures):
            here_HWC = shown.pictures[last].astype(np.float32)
            jumps.append(min(float(np.abs(here_HWC - each).mean()) for each in earlier))
    return float(np.mean(jumps)) if jumps else None


def main() -> int:
    """Measures, prints, writes JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.idle_loop", description=__doc__
    )
    parser.add_argument("--pauses", type=int, default=8, help="(%(default)s)")
    parser.add_argument("--image", type=Path, default=Path("examples/portrait.png"))
    parser.add_argument("--audio", type=Path, default=Path("examples/speech.wav"))
    parser.add_argument("--out", type=Path, help="JSON file to write")
    given = parser.parse_args()
    console = Console()
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("pauses", total=given.pauses)
        shown = asyncio.run(
            watch(given.image, given.audio, given.pauses, lambda: progress.advance(bar))
        )
    found = figures(shown)
    table = Table(title=f"{given.pauses} pauses in {found['frames']} frames")
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in list(found.items())[1:]:
        table.add_row(name.replace("_", " "), str(value))
    console.print(table)
    if given.out is not None:
        given.out.write_text(json.dumps({"machine": machine(), **found}, indent=2) + "\n")
        console.print(f"{given.out}: written", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
