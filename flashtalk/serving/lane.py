"""The lane of a worker: a bounded queue for its single compute thread, earliest deadline first.

A device runs one job at a time, and so does the lane. When it is full, calls are rejected at once.
A cancelled job, or one whose deadline has passed, is never started; a running job can check for
cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import itertools
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import grpc

from flashtalk.serving import metrics
from flashtalk.serving.errors import Reason, ServiceError

T = TypeVar("T")
R = TypeVar("R")


class Stopped(Exception):
    """Raised by work whose call was cancelled."""


class Cancellation:
    """Cancellation flag of a job; checked by the compute thread."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Nobody waits for the job any more."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Cancels the job."""
        self._cancelled.set()

    def check(self) -> None:
        """Raises Stopped if the job was cancelled."""
        if self._cancelled.is_set():
            raise Stopped


Work = Callable[[Cancellation], T]


@dataclass(frozen=True)
class Last(Generic[R]):
    """The return value of a stream's generator."""

    value: R


@dataclass(frozen=True)
class _Failed:
    error: Exception


@dataclass(order=True)
class _Job:
    deadline_s: float
    number: int
    work: Work[Any] = field(compare=False)
    result: asyncio.Future[Any] = field(compare=False)
    cancellation: Cancellation = field(compare=False)
    context: contextvars.Context = field(compare=False)
    queued_s: float = field(compare=False)


class ComputeLane:
    """A single compute thread with a queue of jobs.

    Args:
        limit: maximum number of waiting and running jobs.
        retry_after_s: retry delay in the error of a full lane.
    """

    def __init__(self, limit: int, retry_after_s: float = 0.5) -> None:
        self._limit, self._retry_after_s = limit, retry_after_s
        self._jobs: list[_Job] = []
        self._numbers = itertools.count()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._pending = 0
        self._thread: ThreadPoolExecutor | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """Number of waiting and running jobs."""
        return self._pending

    async def start(self) -> None:
        """Opens the lane."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compute")
        self._task = asyncio.create_task(self._run(self._thread))

    async def drain(self, grace_s: float) -> None:
        """Waits until the lane is empty, at most ``grace_s``."""
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            return

    async def stop(self) -> None:
        """Ends the thread; waiting jobs end with UNAVAILABLE."""
        if self._task is None or self._thread is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task})
        for job in self._jobs:
            job.cancellation.cancel()
            if not job.result.done():
                job.result.set_exception(_draining())
            self._count(-1)
        self._jobs.clear()
        await asyncio.to_thread(self._thread.shutdown)
        self._task = self._thread = None

    async def run(self, work: Work[T], deadline_s: float | None = None) -> T:
        """Runs ``work`` in the lane's thread with the caller's context; returns its result.

        Args:
            work: the job; can check for cancellation.
            deadline_s: latest start, on the monotonic clock of the event loop.

        Raises:
            ServiceError: the lane is full or closed, or the deadline passed.
        """
        if self._task is None:
            raise _draining()
        if self._pending >= self._limit:
            raise ServiceError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                Reason.QUEUE_FULL,
                f"queue is full: {self._pending} waiting and running calls",
                retry_after_s=self._retry_after_s,
            )
        job = _Job(
            deadline_s=float("inf") if deadline_s is None else deadline_s,
            number=next(self._numbers),
            work=work,
            result=asyncio.get_running_loop().create_future(),
            cancellation=Cancellation(),
            context=contextvars.copy_context(),
            queued_s=asyncio.get_running_loop().time(),
        )
        self._count(+1)
        heapq.heappush(self._jobs, job)
        self._changed.set()
        try:
            result: T = await job.result
            return result
        finally:
            job.cancellation.cancel()
            if job in self._jobs:
                self._jobs.remove(job)
                heapq.heapify(self._jobs)
                self._count(-1)

    async def stream(
        self,
        produce: Callable[[Cancellation], Generator[T, None, R]],
        deadline_s: float | None = None,
    ) -> AsyncGenerator[T | Last[R]]:
        """Yields the items of a generator as they are produced, then its return value.

        A slow reader does not delay the job: the number of items of a job is bounded.
        """
        loop, items = asyncio.get_running_loop(), asyncio.Queue[T | Last[R] | _Failed]()

        def work(cancellation: Cancellation) -> R:
            # Always closed here, in the thread and the context that it runs in.
            with contextlib.closing(produce(cancellation)) as generator:
                while True:
                    cancellation.check()
                    try:
                        item = next(generator)
                    except StopIteration as end:
                        result: R = end.value
                        return result
                    loop.call_soon_threadsafe(items.put_nowait, item)

        async def whole() -> None:
            try:
                await items.put(Last(await self.run(work, deadline_s)))
            except Exception as error:
                await items.put(_Failed(error))

        running = asyncio.create_task(whole())
        try:
            while True:
                item = await items.get()
                if isinstance(item, _Failed):
                    raise item.error
                yield item
                if isinstance(item, Last):
                    return
        finally:
            running.cancel()
            await asyncio.wait({running})

    async def _run(self, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._jobs:
                self._changed.clear()
                await self._changed.wait()
            job = heapq.heappop(self._jobs)
            try:
                await self._do(loop, thread, job)
            finally:
                self._count(-1)

    async def _do(
        self, loop: asyncio.AbstractEventLoop, thread: ThreadPoolExecutor, job: _Job
    ) -> None:
        if job.result.done():
            return
        now_s = loop.time()
        metrics.WORKER_WAIT_SECONDS.observe(now_s - job.queued_s)
        if now_s >= job.deadline_s:
            job.result.set_exception(
                ServiceError(
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    Reason.DEADLINE_PASSED,
                    "deadline exceeded before the computation started",
                )
            )
            return
        computing = loop.run_in_executor(thread, job.context.run, job.work, job.cancellation)
        try:
            # Not cancelled with its caller: the thread is busy until the work ends.
            result = await asyncio.shield(computing)
        except asyncio.CancelledError:
            job.cancellation.cancel()
            if not job.result.done():
                job.result.set_exception(_draining())
            await asyncio.wait({computing})
            computing.exception()  # retrieved, so that asyncio does not log it
            raise
        except Exception as error:
            if not job.result.done():
                job.result.set_exception(error)
        else:
            if not job.result.done():
                job.result.set_result(result)

    def _count(self, change: int) -> None:
        self._pending += change
        metrics.WORKER_PENDING.set(self._pending)
        if self._pending:
            self._idle.clear()
        else:
            self._idle.set()


def _draining() -> ServiceError:
    return ServiceError(grpc.StatusCode.UNAVAILABLE, Reason.DRAINING, "this worker is not running")
