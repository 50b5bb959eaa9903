"""The gateway's metrics; names include units."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from prometheus_client import Counter, Gauge, Histogram

from services.gateway.chunk_times import ChunkTimes
from services.gateway.loop_clock import now_s

_CHUNK_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.12, 1.5, 2, 3, 5, 10)
_STAGE_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.12, 2, 5)

CHUNK_SECONDS = Histogram(
    "flashtalk_chunk_seconds", "Wall time of a chunk from plan to commit.", buckets=_CHUNK_BUCKETS_S
)
STAGE_SECONDS = Histogram(
    "flashtalk_chunk_stage_seconds",
    "Wall time of one stage of a chunk, including calls and retries.",
    ["stage"],
    buckets=_STAGE_BUCKETS_S,
)
OVERHEAD_SECONDS = Histogram(
    "flashtalk_chunk_overhead_seconds",
    "Wall time of a chunk minus the workers' compute time.",
    buckets=_STAGE_BUCKETS_S,
)
FIRST_FRAME_SECONDS = Histogram(
    "flashtalk_first_frame_seconds",
    "Time from opening a stream to its first sent frame.",
    buckets=_CHUNK_BUCKETS_S,
)
LATE_SECONDS = Histogram(
    "flashtalk_chunk_late_seconds",
    "Lateness of the first frame of a chunk; real-time streams only.",
    buckets=_STAGE_BUCKETS_S,
)
INTERRUPT_SECONDS = Histogram(
    "flashtalk_interrupt_seconds",
    "Time from an interruption to its acknowledgement.",
    buckets=_STAGE_BUCKETS_S,
)
CHUNKS = Counter("flashtalk_chunks", "Committed chunks.")
RETRIES = Counter(
    "flashtalk_chunk_retries",
    "Calls to workers that failed and were retried; committed chunks only.",
)
PROMPT_SECONDS = Histogram(
    "flashtalk_prompt_seconds",
    "Time from a new prompt to the first chunk that uses it.",
    buckets=_CHUNK_BUCKETS_S,
)
PROMPTS = Counter(
    "flashtalk_prompt_updates", "Prompt updates of running sessions, by outcome.", ["outcome"]
)
UNDERRUNS = Counter("flashtalk_underruns", "Chunks with silence in place of late speech.")
MISSING_SAMPLES = Counter(
    "flashtalk_underrun_samples", "Samples of silence in place of late speech."
)
FRAMES = Counter("flashtalk_frames_sent", "Sent frames.")
STREAMS = Gauge("flashtalk_streams", "Open streams.")
CHUNK_VIDEO_SECONDS = Gauge(
    "flashtalk_chunk_video_seconds", "Video in a chunk of the ready DiT workers' weights."
)
SLOTS = Gauge("flashtalk_session_slots", "Session slots of ready DiT workers.")
FREE_SLOTS = Gauge("flashtalk_session_slots_free", "Free session slots of ready DiT workers.")
READY_WORKERS = Gauge(
    "flashtalk_ready_workers", "Ready workers that this gateway finds, by role.", ["role"]
)
CALL_FAILURES = Counter(
    "flashtalk_worker_call_failures",
    "Failed calls to workers, by role; including those of abandoned chunks.",
    ["role"],
)
STORE_ERRORS = Counter(
    "flashtalk_store_errors",
    "Calls to the store that failed after all retries, by cause.",
    ["cause"],
)
OUTBOX_FRAMES = Gauge("flashtalk_outbox_frames", "Frames waiting to be sent, sum of all streams.")
INTAKE_SAMPLES = Gauge(
    "flashtalk_intake_samples", "Buffered samples of speech, sum of all streams."
)

for _outcome in ("applied", "superseded", "refused", "failed"):
    PROMPTS.labels(_outcome)
for _cause in ("timeout", "refused"):
    STORE_ERRORS.labels(_cause)  # a rate needs a zero before the first error


def observe_chunk(times: ChunkTimes, wall_s: float) -> None:
    """Counts a committed chunk."""
    CHUNKS.inc()
    CHUNK_SECONDS.observe(wall_s)
    OVERHEAD_SECONDS.observe(max(0.0, wall_s - times.compute_s))
    RETRIES.inc(times.retries)
    for stage, seconds in times.stages_s.items():
        _of_stage(stage).observe(seconds)


@functools.cache
def _of_stage(stage: str) -> Histogram:
    """Returns a cached child: looking up labels costs more than counting."""
    return STAGE_SECONDS.labels(stage)


class FramesSeen:
    """Counts the messages sent on one stream.

    Args:
        paced: whether frames have due times.
    """

    def __init__(self, *, paced: bool) -> None:
        self._paced = paced
        self._opened_s = now_s()
        self._chunk: int | None = None

    def frames(self, chunks: Sequence[int], late_s: float) -> None:
        """Counts the frames of these chunks, sent together; the first one is late by that much."""
        FRAMES.inc(len(chunks))
        for chunk_index in dict.fromkeys(chunks):
            if chunk_index != self._chunk:
                self._begun(chunk_index, late_s)

    def _begun(self, chunk_index: int, late_s: float) -> None:
        if self._chunk is None:
            FIRST_FRAME_SECONDS.observe(now_s() - self._opened_s)
        if self._paced:
            LATE_SECONDS.observe(late_s)
        self._chunk = chunk_index
