"""The start of a stream: the sound that its first frame needs, and the computation after it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from flashtalk.cli.bench_stages import Talk
from flashtalk.engine import talk_on
from flashtalk.streaming import Pcm


@dataclass(frozen=True)
class StreamStart:
    """The start of one session.

    Args:
        condition_s: encoding of portrait and prompt.
        sound_s: received speech at the first frame.
        computing_s: from the packet that completed it to the frame.
    """

    condition_s: float
    sound_s: float
    computing_s: float


def measure_start(talk: Talk) -> StreamStart:
    """Starts a session, sends 20 ms at a time, waits for its first frames."""
    spec = talk.pipeline.spec
    began_s = time.perf_counter()
    session = talk.start()
    condition_s = time.perf_counter() - began_s
    samples, last_s = 0, 0.0

    def arriving() -> Iterator[Pcm]:
        nonlocal samples, last_s
        # More than enough; the measurement is where it stops.
        for packet in talk.packets(3):
            samples += len(packet)
            last_s = time.perf_counter()
            yield packet

    next(talk_on(talk.pipeline, session, arriving()))
    computing_s = time.perf_counter() - last_s
    return StreamStart(condition_s, samples / spec.pcm_hz, computing_s)
