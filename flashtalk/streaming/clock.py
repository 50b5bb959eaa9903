"""The chunk clock: which samples belong to which frames, by counting (architecture section 2).

Chunk k shows the frames [28k, 28k + 28), which are the samples [17920k, 17920k + 17920). Packets
may be of any size; the end of the sound fills the last chunk with silence, and says how many of
its frames are real.

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
        samples: how many of them were really there.
        frames: video frames that show them, ceil(samples / 640): 28, or fewer in the last chunk.
        first_frame, first_sample: place in the stream of the chunk's first frame and sample.
    """

    index: int
    pcm_S: Pcm
    samples: int
    frames: int
    first_frame: int
    first_sample: int


class ChunkClock:
    """Cuts a stream of packets into chunks. A value: ``copy()`` is independent of the original.

    Args:
        spec: the stream contract.
        next_index: number of the chunk that comes next, for a stream that is taken up again.
    """

    def __init__(self, spec: StreamSpec, next_index: int = 0) -> None:
        self.spec = spec
        self.next_index = next_index
        self._waiting = np.zeros(spec.new_samples, np.float32)
        self._filled = 0

    @property
    def waiting_samples(self) -> int:
        """Samples that do not make a chunk yet."""
        return self._filled

    def push(self, pcm_S: Pcm) -> Iterator[AudioChunk]:
        """Take a packet of any size and give the chunks that it completes.

        The packet is checked at once; its samples are taken as the iterator is used up, so that
        a packet of an hour is never copied as a whole.

        Raises:
            InputError: not a single axis of finite float32 samples.
        """
        return self._take(checked_pcm(pcm_S))

    def finish(self) -> AudioChunk | None:
        """The last, incomplete chunk, filled with silence; None if nothing is waiting."""
        return self._cut() if self._filled else None

    def copy(self) -> ChunkClock:
        """The same state in a clock of its own."""
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
    """All chunks of a stream of packets, the padded last one included."""
    clock = ChunkClock(spec)
    for packet in packets:
        yield from clock.push(packet)
    if (last := clock.finish()) is not None:
        yield last


def frame_count(samples: int, spec: StreamSpec) -> int:
    """Video frames of a sound of ``samples`` samples: ceil(samples / 640)."""
    return -(-samples // spec.samples_per_frame)
