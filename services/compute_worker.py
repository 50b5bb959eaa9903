"""The life cycle of a compute worker; its stage defines the computation.

All work on the device runs in the single thread of its lane: loading, warm-up and calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import grpc
import torch

from flashtalk.engine import (
    Checkpoint,
    DigestCache,
    keep_freed_memory,
    open_checkpoint,
    weights_digest,
)
from flashtalk.engine.compiled import graph_count
from flashtalk.errors import InputError
from flashtalk.serving import metrics
from flashtalk.serving.lane import ComputeLane
from flashtalk.serving.logs import get_logger
from flashtalk.serving.worker import WorkerCard, WorkerSettings, not_ready

_LOG = get_logger(__name__)

MEASURED_RUNS = 2
"""Number of timed chunks per size after the warm-up, which includes one-time costs (memory, kernel
selection, compilation). The slower of two counts, so that the number of slots does not depend on
one fast run."""
_SHARE_OF_REAL_TIME = 0.8
"""Share of a worker's time for sessions; the rest is a reserve for portraits and delays."""

_DIGESTS = "digests"


class Stage(Protocol):
    """One of the three stages of a chunk."""

    def warm_up(self, size_hw: tuple[int, int]) -> MeasureChunk:
        """Runs every code path of calls once at one size; returns the function that measures it."""


MeasureChunk = Callable[[], float]
"""Computes a typical chunk of a stream; returns its time in seconds."""
Register = Callable[[grpc.aio.Server, ComputeLane, WorkerCard], str]
"""Adds the servicer of a stage to a server; returns the full name of its service."""


StageT = TypeVar("StageT", bound=Stage)


class Loading(Generic[StageT]):
    """Holds a stage that is created when the weights of its worker are loaded.

    Args:
        role: role of the worker.
        make: creates the stage from a checkpoint and the digest of its weights (hex).
    """

    def __init__(self, role: str, make: Callable[[Checkpoint, str], StageT]) -> None:
        self.role, self._make = role, make
        self._made: list[StageT] = []

    def load(self, checkpoint: Checkpoint, digest: str) -> None:
        """Creates the stage."""
        self._made.append(self._make(checkpoint, digest))

    @property
    def stage(self) -> StageT:
        """Returns the stage. Raises ServiceError (UNAVAILABLE, NOT_READY) before it is loaded."""
        if not self._made:
            raise not_ready()
        return self._made[-1]


class ComputeWorker:
    """A ``flashtalk.serving`` app around a stage.

    Args:
        settings: settings of the worker.
        loading: loads the stage.
        register: adds the service of the stage to a server.
    """

    def __init__(self, settings: WorkerSettings, loading: Loading[Any], register: Register) -> None:
        self._settings, self._loading, self._register = settings, loading, register
        self._chunk_s = 0.0
        self.lane = ComputeLane(settings.max_pending)
        self.card = WorkerCard(loading.role)

    @property
    def interceptors(self) -> Sequence[grpc.aio.ServerInterceptor]:
        """Returns none: certificates authenticate the callers."""
        return ()

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds the service; calls before the end of the warm-up fail with a retryable error."""
        return [self._register(server, self.lane, self.card)]

    async def start(self) -> None:
        """Loads the weights and warms up every size; an InputError ends the service."""
        keep_freed_memory()
        await self.lane.start()
        await self.lane.run(lambda _: self._load())
        seconds = []
        for size_hw in self.card.sizes_hw:
            seconds.append(await self._measured(size_hw))
            _LOG.info("warm", extra={"size": f"{size_hw[1]}x{size_hw[0]}", "chunk_s": seconds[-1]})
        # The slowest size limits the number of sessions.
        self.card.chunk_s = max(seconds)
        share = int(_SHARE_OF_REAL_TIME * self._chunk_s / self.card.chunk_s)
        self.card.session_slots = self._settings.session_slots or max(1, share)
        if self._settings.compile:
            warm = graph_count()
            metrics.WORKER_RECOMPILES.set_function(lambda: graph_count() - warm)
        self.card.ready = True

    async def _measured(self, size_hw: tuple[int, int]) -> float:
        """Warms up one size; returns the seconds of a chunk."""
        warm_up: Callable[[tuple[int, int]], MeasureChunk] = self._loading.stage.warm_up
        measure = await self.lane.run(lambda _: warm_up(size_hw))
        return max([await self.lane.run(lambda _: measure()) for _ in range(MEASURED_RUNS)])

    async def drain(self, grace_s: float) -> None:
        """Lets waiting and running calls finish."""
        await self.lane.drain(grace_s)

    async def stop(self) -> None:
        """Stops the thread."""
        self.card.ready = False
        await self.lane.stop()

    def _load(self) -> None:
        settings = self._settings
        if settings.threads:
            torch.set_num_threads(settings.threads)
        checkpoint = open_checkpoint(
            settings.preset,
            settings.weights,
            device=settings.device,
            dtype=settings.dtype,
            compiled=settings.compile,
            attention=settings.attention,
            overlays=settings.checked_overlays(),
        )
        sizes = settings.sizes_hw(checkpoint.sampling.size_hw)
        for height, width in sizes:
            try:
                checkpoint.spec.latent_size(height, width)
            except InputError as error:
                raise InputError("sizes", f"{width}x{height}", error.limit) from None
        cache = DigestCache(settings.cache / _DIGESTS) if settings.cache is not None else None
        digest = weights_digest(checkpoint.pieces, cache)
        self._loading.load(checkpoint, digest)
        self._chunk_s = checkpoint.spec.new_frames / checkpoint.spec.fps
        card = self.card
        card.preset, card.weights_digest, card.sizes_hw = settings.preset, digest, sizes
        card.default_prompt = checkpoint.sampling.prompt
        card.accepts_prompt, card.spec = checkpoint.accepts_prompt, checkpoint.spec
