"""Batches windows of several sessions: those that wait while the device is busy form a batch.

A window is never delayed to form a larger batch: if the device is free, it is computed at once.

Legend: S samples, R rows, L layers, D width.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc
from opentelemetry.trace import SpanContext
from prometheus_client import Histogram

from flashtalk.arrays import FloatArray
from flashtalk.serving.errors import Reason, ServiceError
from flashtalk.serving.lane import Cancellation, ComputeLane
from flashtalk.serving.tracing import current_span, span
from flashtalk.streaming import Pcm

Encode = Callable[[Sequence[Pcm]], list[FloatArray]]

BATCH_WINDOWS = Histogram(
    "flashtalk_audio_encoder_batch_windows",
    "Audio windows per batch.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 256),
)


@dataclass(frozen=True, eq=False)
class _Waiting:
    pcm_S: Pcm
    deadline_s: float
    rows: asyncio.Future[tuple[FloatArray, float]]
    span: SpanContext
    context: contextvars.Context


class WindowBatcher:
    """Collects windows while a batch is computed.

    Args:
        lane: runs the batches.
        encode: computes a batch; returns float32 [R, L, D] per window, in order.
        size: maximum windows per batch.
        limit: maximum number of waiting windows.
    """

    def __init__(self, lane: ComputeLane, encode: Encode, size: int, limit: int) -> None:
        self._lane, self._encode, self._size, self._limit = lane, encode, size, limit
        self._waiting: list[_Waiting] = []
        self._driving: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """Number of waiting windows."""
        return len(self._waiting)

    async def encode(self, pcm_S: Pcm, deadline_s: float | None = None) -> tuple[FloatArray, float]:
        """Returns features of one window, float32 [R, L, D], and the seconds of its batch.

        Raises:
            ServiceError: the queue is full, the deadline passed, or the worker stops.
        """
        if len(self._waiting) >= self._limit:
            raise ServiceError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                Reason.QUEUE_FULL,
                f"queue is full: {len(self._waiting)} waiting windows",
                retry_after_s=0.5,
            )
        latest_s = float("inf") if deadline_s is None else deadline_s
        rows: asyncio.Future[tuple[FloatArray, float]] = asyncio.get_running_loop().create_future()
        window = _Waiting(pcm_S, latest_s, rows, current_span(), contextvars.copy_context())
        self._waiting.append(window)
        if self._driving is None:
            # The task ends when no window waits, or when the lane is closed.
            self._driving = asyncio.create_task(self._drive())
        try:
            return await rows
        finally:
            if window in self._waiting:
                self._waiting.remove(window)

    async def _drive(self) -> None:
        try:
            while batch := self._next_batch():
                # The batch is in the trace of the first window; the others are linked.
                await asyncio.create_task(self._compute(batch), context=batch[0].context)
        finally:
            self._driving = None

    def _next_batch(self) -> list[_Waiting]:
        """Returns the windows with the earliest deadlines; fails those past their deadline."""
        now_s = time.monotonic()
        for window in [w for w in self._waiting if w.deadline_s <= now_s]:
            self._waiting.remove(window)
            if not window.rows.done():
                window.rows.set_exception(
                    ServiceError(
                        grpc.StatusCode.DEADLINE_EXCEEDED,
                        Reason.DEADLINE_PASSED,
                        "deadline exceeded before the computation started",
                    )
                )
        batch = sorted(self._waiting, key=lambda window: window.deadline_s)[: self._size]
        self._waiting = [window for window in self._waiting if window not in batch]
        return batch

    async def _compute(self, batch: list[_Waiting]) -> None:
        BATCH_WINDOWS.observe(len(batch))
        windows = [window.pcm_S for window in batch]
        others = [window.span for window in batch[1:]]

        def timed(_: Cancellation) -> tuple[list[FloatArray], float]:
            begun_s = time.perf_counter()
            with span("audio", {"windows": len(windows)}, links=others):
                rows = self._encode(windows)
            return rows, time.perf_counter() - begun_s

        try:
            rows, seconds = await self._lane.run(timed)
        except Exception as error:
            for window in batch:
                if not window.rows.done():
                    window.rows.set_exception(error)
            return
        for window, rows_RLD in zip(batch, rows, strict=True):
            if not window.rows.done():
                window.rows.set_result((rows_RLD, seconds))
