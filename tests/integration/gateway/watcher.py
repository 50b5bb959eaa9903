"""Who reads what a stream sends, and insists on the contract."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from flashtalk.streaming import StreamSpec
from flashtalk.v1 import stream_pb2

SAMPLES_PER_FRAME = StreamSpec().samples_per_frame


@dataclass
class Watcher:
    """Takes responses and insists on the contract: every frame once, in order, with its sound."""

    next_frame: int = 0
    epoch: int = 0
    video: list[bytes] = field(default_factory=list)
    pcm: list[np.ndarray] = field(default_factory=list)
    chunks: list[stream_pb2.ChunkReport] = field(default_factory=list)
    activities: list[tuple[int, int]] = field(default_factory=list)
    underruns: list[int] = field(default_factory=list)
    interrupted: list[stream_pb2.Interrupted] = field(default_factory=list)
    updated: list[stream_pb2.PromptUpdated] = field(default_factory=list)
    closed: stream_pb2.StreamClosed | None = None
    away: bool = False
    together: int = 0

    def take(self, response: stream_pb2.StreamResponse) -> str:
        kind = response.WhichOneof("message")
        if kind == "frame":
            self._frame(response.frame)
        elif kind == "frames":
            assert 2 <= len(response.frames.frames) <= self.together, "only who asked for groups"
            for frame in response.frames.frames:
                self._frame(frame)
        elif kind == "chunk":
            self.chunks.append(response.chunk)
        elif kind == "activity":
            self.activities.append((response.activity.kind, response.activity.frame_index))
        elif kind == "underrun":
            self.underruns.append(response.underrun.missing_samples)
        elif kind in ("interrupted", "prompt_updated"):
            self._answer(response)
        elif kind == "closed":
            assert response.closed.next_frame == self.next_frame
            self.closed = response.closed
        elif kind == "go_away":
            self.away = True
        return str(kind)

    def _answer(self, response: stream_pb2.StreamResponse) -> None:
        if response.HasField("prompt_updated"):
            self.updated.append(response.prompt_updated)
            return
        interrupted = response.interrupted
        self.interrupted.append(interrupted)
        self.epoch = interrupted.epoch
        self.next_frame = interrupted.played_frames
        del self.video[self.next_frame :]
        del self.pcm[self.next_frame :]

    def _frame(self, frame: stream_pb2.Frame) -> None:
        assert frame.frame_index == self.next_frame
        assert frame.first_sample == frame.frame_index * SAMPLES_PER_FRAME
        assert frame.epoch == self.epoch, "nothing of an old epoch after its end"
        pcm_S = np.frombuffer(frame.pcm, "<f4")
        assert len(pcm_S) == SAMPLES_PER_FRAME
        self.next_frame += 1
        self.video.append(frame.video)
        self.pcm.append(pcm_S)

    @property
    def activity(self) -> int:
        """Of the newest frame."""
        return self.activities[-1][0] if self.activities else 0

    @property
    def sound(self) -> np.ndarray:
        return np.concatenate(self.pcm) if self.pcm else np.zeros(0, np.float32)
