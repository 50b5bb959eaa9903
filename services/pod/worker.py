"""A worker on several ranks, as torchrun starts it (report section 3.3).

Every rank has the weights and computes its share. Rank 0 is the worker that the gateway calls; the
others run its commands. If any rank is lost, all ranks end.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from flashtalk.engine import Checkpoint, open_checkpoint
from flashtalk.errors import FlashTalkError
from flashtalk.serving.errors import ServiceError
from flashtalk.serving.logs import get_logger, set_up_logs
from flashtalk.serving.server import run
from flashtalk.serving.settings import EXIT_SETTINGS, start_up_error
from flashtalk.serving.worker import WorkerSettings
from flashtalk.terminal import stopping_signals
from services.compute_worker import ComputeWorker, Loading, Register
from services.pod.commands import Ping, Shutdown, Warm
from services.pod.group import follow, tell
from services.pod.member import PING_S, Pod, join_pod
from services.pod.preflight import preflight
from services.pod.settings import PodSettings
from services.pod.watch import Limits, give_up

_LOG = get_logger(__name__)


@dataclass(frozen=True)
class Role:
    """The work of the ranks of a pod.

    Args:
        loading: loads the leader's stage.
        register: adds the leader's service.
        follow: loads a follower's share of the weights; returns the function that computes its
            share of a command.
    """

    loading: Loading[Any]
    register: Register
    follow: Callable[[Checkpoint], Callable[[Any], None]]


class PodWorker(ComputeWorker):
    """A compute worker on the ranks of a pod."""

    def __init__(
        self, settings: WorkerSettings, loading: Loading[Any], register: Register, pod: Pod
    ) -> None:
        super().__init__(settings, loading, register)
        self._pod = pod
        self._pings: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Warms up all ranks, then sends them keepalives."""
        await super().start()
        await self.lane.run(lambda _: tell(self._pod, Warm()))
        self._pod.warm()
        self._pings = asyncio.create_task(self._ping())

    async def stop(self) -> None:
        """Ends the followers."""
        if self._pings is not None:
            self._pings.cancel()
            await asyncio.wait({self._pings})
        with contextlib.suppress(Exception):  # the lane never opened, or is full
            await self.lane.run(lambda _: tell(self._pod, Shutdown()))
        await super().stop()
        self._pod.leave()

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_S)
            # With a full lane the commands themselves are the keepalive.
            with contextlib.suppress(ServiceError):
                await self.lane.run(lambda _: tell(self._pod, Ping()))


def run_pod(
    name: str,
    settings: PodSettings,
    make: Callable[[Pod], Role],
    exchanges: Callable[[], int],
) -> int:
    """Runs one rank from start to end; exit codes as ``flashtalk.serving.server.run``.

    Args:
        name: name of the service.
        settings: settings of the worker; equal on every rank.
        make: returns the role of this rank after it has joined the pod; a FlashTalkError ends every
            rank as invalid settings do.
        exchanges: returns the number of exchanges of the model that this rank has begun.
    """
    set_up_logs(name, settings.log_level)
    kind = "cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu"
    pod = join_pod(kind, Limits(settings.silence_s, settings.hang_s), exchanges)
    device = torch.device(kind, pod.local_rank) if kind == "cuda" else torch.device("cpu")
    try:
        preflight(pod, device)
        role = make(pod)
    except FlashTalkError as error:
        _LOG.error("cannot start", extra={"error": start_up_error(settings, error)})
        return EXIT_SETTINGS
    placed = settings.model_copy(update={"device": str(device)})
    if pod.leads:
        return run(name, placed, partial(PodWorker, placed, role.loading, role.register, pod))
    return _follow(placed, pod, role)


def _follow(settings: PodSettings, pod: Pod, role: Role) -> int:
    # A stop signal goes to all processes of the pod; a follower ends when its leader has drained.
    for number in stopping_signals():
        signal.signal(number, signal.SIG_IGN)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        checkpoint = open_checkpoint(
            settings.preset,
            settings.weights,
            device=settings.device,
            dtype=settings.dtype,
            compiled=settings.compile,
            attention=settings.attention,
            overlays=settings.checked_overlays(),
        )
        follow(pod, role.follow(checkpoint))
    except Exception as error:
        _LOG.exception("a follower failed", extra={"rank": pod.rank})
        give_up(f"rank {pod.rank}: {type(error).__name__}")
    pod.leave()
    return 0
