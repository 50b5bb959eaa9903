"""Distributes the transformer over the ranks of a pod (report section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flashtalk.engine import Checkpoint, Denoiser
from flashtalk.errors import InputError
from flashtalk.parallel import Backend, Layout, Mesh, apply, choose_layout, join_mesh
from flashtalk.serving.logs import get_logger
from services.dit_worker.commands import Command
from services.dit_worker.rank import DenoiseRank
from services.dit_worker.servicer import registering
from services.dit_worker.settings import DitWorkerSettings
from services.dit_worker.stage import loading
from services.pod import Pod
from services.pod.worker import Role

_LOG = get_logger(__name__)


class Ranks:
    """Creates the mesh of a pod's ranks when the number of heads is known.

    Args:
        layout: ``UxR``, or empty for the one that sends least.
        backend: of the self-attention.
    """

    def __init__(self, layout: str, backend: Backend) -> None:
        self._layout, self._backend = layout, backend
        self._mesh: Mesh | None = None

    def lay_out(self, pod: Pod, denoiser: Denoiser, checkpoint: Checkpoint) -> None:
        """Distributes a network. Raises InputError for an invalid layout."""
        heads = denoiser.network.config.num_heads
        layout = read_layout(self._layout) if self._layout else choose_layout(pod.size, heads)
        pod.meet()  # creating groups is collective, and ranks finish loading at different times
        self._mesh = join_mesh(layout)
        apply(
            denoiser.network,
            self._mesh,
            backend=self._backend,
            kernel=checkpoint.placement.attention,
        )
        _LOG.info("parallel layout", extra={"layout": str(layout), "rank": pod.rank})

    def exchanges(self) -> int:
        """Returns the number of exchanges that this rank has begun."""
        return self._mesh.traffic.exchanges if self._mesh else 0


def read_layout(text: str) -> Layout:
    """Parses a layout: ``4x2`` is Ulysses 4, ring 2. Raises InputError for anything else."""
    ulysses, _, ring = text.partition("x")
    if not (ulysses.isdecimal() and ring.isdecimal()):
        raise InputError("layout", text, "must be ULYSSESxRING, such as 8x1")
    return Layout(int(ulysses), int(ring))


def denoising(settings: DitWorkerSettings, ranks: Ranks, pod: Pod) -> Role:
    """Returns the role of a rank of the DiT worker."""
    given = (pod, settings.conditioning_bytes, partial(ranks.lay_out, pod))
    made = loading(*given, offload_encoders=settings.offload_encoders)

    def follow(checkpoint: Checkpoint) -> Callable[[Command], None]:
        return DenoiseRank.load(checkpoint, *given).carry_out

    return Role(made, registering(made), follow)
