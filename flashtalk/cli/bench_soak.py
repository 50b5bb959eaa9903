"""A long stream, to check that memory and speed stay constant: `flashtalk bench --minutes M`."""

from __future__ import annotations

import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil

from flashtalk.cli.bench_inputs import packets
from flashtalk.cli.bench_stages import Talk
from flashtalk.engine import talk as run_talk

MIB = 1 << 20
POINTS = 64
# Allowed variation of an allocator's memory between quarters of a stream. A leak of one chunk's
# frames at 64x64 exceeds it within two minutes.
FLAT_MIB = 16


@dataclass(frozen=True)
class Point:
    """The peak memory since the previous point.

    Args:
        video_s: length of the stream so far.
        rss_bytes: resident memory of the process.
    """

    video_s: float
    rss_bytes: int


class MemoryLog:
    """Resident memory over a stream of any length, in at most ``capacity`` points.

    When it is full, neighbours become one point (the later time, the larger memory), and each new
    point then stands for twice as many samples: its size is bounded, and no peak is lost.

    Args:
        capacity: even, at least 4.
    """

    def __init__(self, capacity: int = POINTS) -> None:
        self.capacity = capacity
        self.samples_per_point = 1
        self._points: list[Point] = []
        self._waiting: Point | None = None
        self._samples = 0

    def add(self, video_s: float, rss_bytes: int) -> None:
        """Adds a sample; times must not decrease."""
        before = 0 if self._waiting is None else self._waiting.rss_bytes
        self._waiting = Point(video_s, max(before, rss_bytes))
        self._samples += 1
        if self._samples == self.samples_per_point:
            self._points.append(self._waiting)
            self._waiting, self._samples = None, 0
        if len(self._points) == self.capacity:
            halves = zip(self._points[::2], self._points[1::2], strict=True)
            self._points = [
                Point(late.video_s, max(early.rss_bytes, late.rss_bytes)) for early, late in halves
            ]
            self.samples_per_point *= 2

    @property
    def points(self) -> list[Point]:
        """Returns all points so far, including the incomplete one."""
        return [*self._points, self._waiting] if self._waiting else list(self._points)

    @property
    def growth_bytes(self) -> int:
        """Returns the median of the last quarter less that of the second: the first is warm-up."""
        memory = [point.rss_bytes for point in self.points]
        quarter = math.ceil(len(memory) / 4)
        if len(memory) < 2:
            return 0
        early = statistics.median(memory[quarter : 2 * quarter])
        return round(statistics.median(memory[-quarter:]) - early)


@dataclass(frozen=True)
class Soak:
    """The result of a long stream.

    Args:
        video_s: its length; ``wall_s``: the time it took.
        slowest_chunk_s: the longest wait for a chunk.
        memory: over the stream.
        growth_bytes: as in ``MemoryLog``.
    """

    video_s: float
    wall_s: float
    slowest_chunk_s: float
    memory: tuple[Point, ...]
    growth_bytes: int

    @property
    def flat(self) -> bool:
        """Whether memory stayed constant over the stream."""
        return self.growth_bytes <= FLAT_MIB * MIB

    @property
    def real_time_factor(self) -> float:
        """Returns seconds of work per second of video."""
        return self.wall_s / self.video_s


def soak(talk: Talk, minutes: float, tick: Callable[[float], None]) -> Soak:
    """Streams sound through ``engine.talk`` and discards the frames.

    Args:
        talk: the talk to run.
        minutes: of sound.
        tick: called after every chunk with the seconds of video so far.
    """
    spec, process, log = talk.pipeline.spec, psutil.Process(), MemoryLog()
    samples = round(minutes * 60 * spec.pcm_hz)
    results = run_talk(
        talk.pipeline,
        talk.portrait_HWC,
        packets(talk.pcm_S, samples, spec.pcm_hz),
        size_hw=talk.size_hw,
        sampling=talk.sampling,
    )
    began_s, slowest_s, video_s = time.perf_counter(), 0.0, 0.0
    for taken_s, frames in _timed(len(result.frames_THWC) for result in results):
        slowest_s = max(slowest_s, taken_s)
        video_s += frames / spec.fps
        log.add(video_s, process.memory_info().rss)
        tick(video_s)
    wall_s = time.perf_counter() - began_s
    return Soak(video_s, wall_s, slowest_s, tuple(log.points), log.growth_bytes)


def _timed(counts: Iterator[int]) -> Iterator[tuple[float, int]]:
    """Yields each item with the seconds until it arrived."""
    began_s = time.perf_counter()
    for count in counts:
        yield time.perf_counter() - began_s, count
        began_s = time.perf_counter()


def peak_rss_bytes() -> int:
    """Returns the peak resident memory of this process."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
