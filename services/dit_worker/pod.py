"""The DiT worker on several ranks, as torchrun starts it (report section 3.3).

Every rank has the weights and computes its share of the tokens. Rank 0 is the worker that the
gateway knows; the others do what it tells them. If any of them is lost, all of them end.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from functools import partial

import torch

from flashtalk.engine import open_checkpoint
from flashtalk.errors import InputError
from flashtalk.models.dit.model import DiT
from flashtalk.parallel import Backend, Layout, Mesh, apply, choose_layout, join_mesh
from flashtalk.serving.errors import ServiceError
from flashtalk.serving.logs import get_logger, set_up_logs
from flashtalk.serving.server import run
from flashtalk.serving.settings import EXIT_SETTINGS
from flashtalk.terminal import stopping_signals
from services.compute_worker import ComputeWorker
from services.dit_worker.commands import Ping, Shutdown, Warm
from services.dit_worker.rank import DenoiseRank, Leader, follow
from services.dit_worker.servicer import registering
from services.dit_worker.settings import DitWorkerSettings
from services.dit_worker.stage import DenoiseStage
from services.pod import Pod, PodError, join_pod
from services.pod.member import PING_S
from services.pod.preflight import preflight
from services.pod.watch import Limits, give_up

_LOG = get_logger(__name__)


class Ranks:
    """The mesh of a pod's ranks, once the network's heads are known.

    Args:
        layout: ``UxR``, or empty for the one with the least to send.
        backend: of the self-attention.
    """

    def __init__(self, layout: str, backend: Backend) -> None:
        self._layout, self._backend = layout, backend
        self._mesh: Mesh | None = None

    def lay_out(self, pod: Pod, dit: DiT) -> None:
        """Shares a network. Raises InputError for a layout that cannot be used."""
        heads = dit.config.num_heads
        layout = read_layout(self._layout) if self._layout else choose_layout(pod.size, heads)
        pod.meet()  # groups are made together, and a rank may have loaded long before another
        self._mesh = join_mesh(layout)
        apply(dit, self._mesh, backend=self._backend)
        _LOG.info("laid out", extra={"layout": str(layout), "rank": pod.rank})

    def exchanges(self) -> int:
        """How many exchanges this rank has begun."""
        return self._mesh.traffic.exchanges if self._mesh else 0


def read_layout(text: str) -> Layout:
    """``4x2`` is Ulysses 4, ring 2. Raises InputError for anything else."""
    ulysses, _, ring = text.partition("x")
    if not (ulysses.isdecimal() and ring.isdecimal()):
        raise InputError("layout", text, "ULYSSESxRING, such as 8x1")
    return Layout(int(ulysses), int(ring))


class PodWorker(ComputeWorker):
    """A compute worker whose device is a pod."""

    def __init__(self, settings: DitWorkerSettings, pod: Pod, leader: Leader) -> None:
        stage = DenoiseStage(leader)
        super().__init__(settings, stage, registering(stage))
        self._pod, self._leader = pod, leader
        self._pings: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Warms up all ranks, then keeps in touch with them."""
        await super().start()
        await self.lane.run(lambda _: self._leader.tell(Warm()))
        self._pod.warm()
        self._pings = asyncio.create_task(self._ping())

    async def stop(self) -> None:
        """Sends the followers home."""
        if self._pings is not None:
            self._pings.cancel()
            await asyncio.wait({self._pings})
        with contextlib.suppress(Exception):  # a lane that never opened, or is full
            await self.lane.run(lambda _: self._leader.tell(Shutdown()))
        await super().stop()
        self._pod.leave()

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_S)
            # A lane that is full says itself to the followers that their leader is there.
            with contextlib.suppress(ServiceError):
                await self.lane.run(lambda _: self._leader.tell(Ping()))


def run_pod(settings: DitWorkerSettings) -> int:
    """One rank from start to end; exit codes as ``flashtalk.serving.server.run``."""
    set_up_logs("dit_worker", settings.log_level)
    kind = "cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu"
    ranks = Ranks(settings.layout, settings.backend)
    limits = Limits(settings.silence_s, settings.hang_s)
    pod = join_pod(kind, limits, ranks.exchanges)
    device = torch.device(kind, pod.local_rank) if kind == "cuda" else torch.device("cpu")
    try:
        preflight(pod, device)
    except PodError as error:
        _LOG.error("cannot start", extra={"error": str(error)})
        return EXIT_SETTINGS
    rank = DenoiseRank(pod, settings.conditioning_bytes, partial(ranks.lay_out, pod))
    placed = settings.model_copy(update={"device": str(device)})
    if pod.leads:
        return run("dit_worker", placed, partial(PodWorker, placed, pod, Leader(rank, pod)))
    return _follow(placed, pod, rank)


def _follow(settings: DitWorkerSettings, pod: Pod, rank: DenoiseRank) -> int:
    # Whoever ends the pod asks all of its processes; a follower ends when its leader has drained.
    for number in stopping_signals():
        signal.signal(number, signal.SIG_IGN)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        checkpoint = open_checkpoint(
            settings.preset, settings.weights, device=settings.device, dtype=settings.dtype
        )
        rank.load(checkpoint)
        follow(rank, pod)
    except Exception as error:
        _LOG.exception("a follower ended by an error", extra={"rank": pod.rank})
        give_up(f"rank {pod.rank}: {type(error).__name__}")
    pod.leave()
    return 0
