"""The chunk clock: assigns samples to frames by counting.

Chunk k shows the frames [28k, 28k + 28), which are the samples [17920k, 17920k + 17920). Packets
may be of any size; at the end of the sound the last chunk is padded with silence and states its
number of real frames.

Legend: S samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from flashtalk.arrays import Pcm
from flashtalk.streaming.pcm import checked_pcm
from flashtalk.streaming.spec import StreamSpec


@dataclass(frozen=True)
class AudioChunk:
    """The sound of one chunk.

    Args:
        index: k, from 0.
        pcm_S: float32 [new_samples]; zeros after the end of the sound.
        samples: number of real samples.
        frames: video frames that show them, ceil(samples / 640): 28, or fewer in the last chunk.
        first_frame, first_sample: position in the stream of the chunk's first frame and sample.
    """

    index: int
    pcm_S: Pcm
    samples: int
    frames: int
    first_frame: int
    first_sample: int


class ChunkClock:
    """Splits a stream of packets into chunks. A value: ``copy()`` is independent of the original.

    Args:
        spec: spec of the stream.
        next_index: number of the next chunk, for a resumed stream.
    """

    def __init__(self, spec: StreamSpec, next_index: int = 0) -> None:
        self.spec = spec
        self.next_index = next_index
        self._waiting = np.zeros(spec.new_samples, np.float32)
        self._filled = 0

    @property
    def waiting_samples(self) -> int:
        """Returns the samples of an incomplete chunk."""
        return self._filled

    def push(self, pcm_S: Pcm) -> Iterator[AudioChunk]:
        """Adds a packet of any size and returns the chunks that it completes.

        The packet is checked at once; its samples are consumed with the iterator, so that a packet
        of an hour is never copied as a whole.

        Raises:
            InputError: not a single axis of finite float32 samples.
        """
        return self._take(checked_pcm(pcm_S))

    def finish(self) -> AudioChunk | None:
        """Returns the last, incomplete chunk, padded with silence; None without samples."""
        return self._cut() if self._filled else None

    def copy(self) -> ChunkClock:
        """Returns an independent clock with the same state."""
        other = ChunkClock(self.spec, self.next_index)
        other._waiting[:] = self._waiting
        other._filled = self._filled
        return other

    def _take(self, pcm_S: Pcm) -> Iterator[AudioChunk]:
        while len(pcm_S):
            part = pcm_S[: self.spec.new_samples - self._filled]
            self._waiting[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            pcm_S = pcm_S[len(part) :]
            if self._filled == self.spec.new_samples:
                yield self._cut()

    def _cut(self) -> AudioChunk:
        spec = self.spec
        chunk = AudioChunk(
            index=self.next_index,
            pcm_S=self._waiting,
            samples=self._filled,
            frames=-(-self._filled // spec.samples_per_frame),
            first_frame=self.next_index * spec.new_frames,
            first_sample=self.next_index * spec.new_samples,
        )
        self._waiting = np.zeros(spec.new_samples, np.float32)
        self._filled = 0
        self.next_index += 1
        return chunk


def chunks(packets: Iterable[Pcm], spec: StreamSpec) -> Iterator[AudioChunk]:
    """Yields all chunks of a stream of packets, including the padded last one."""
    clock = ChunkClock(spec)
    for packet in packets:
        yield from clock.push(packet)
    if (last := clock.finish()) is not None:
        yield last


def frame_count(samples: int, spec: StreamSpec) -> int:
    """Returns the video frames of ``samples`` samples: ceil(samples / 640)."""
    return -(-samples // spec.samples_per_frame)
