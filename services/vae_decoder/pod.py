"""The VAE on the ranks of a pod: each computes a slice of every picture (report section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flashtalk.engine import Checkpoint, VideoCodec
from flashtalk.errors import InputError
from flashtalk.parallel import Grid, PictureMesh, apply, check_grid, choose_grid, join_grid
from flashtalk.presets import WHOLE_VAE
from flashtalk.serving.logs import get_logger
from services.pod import Pod
from services.pod.worker import Role
from services.vae_decoder.commands import Command
from services.vae_decoder.rank import CodecRank
from services.vae_decoder.servicer import registering
from services.vae_decoder.settings import VaeDecoderSettings
from services.vae_decoder.stage import loading

_LOG = get_logger(__name__)


class Slicing:
    """The grid of a pod's ranks, chosen when the picture sizes are known.

    Args:
        settings: settings of the worker.
    """

    def __init__(self, settings: VaeDecoderSettings) -> None:
        self._settings = settings
        self._mesh: PictureMesh | None = None

    def check(self, pod: Pod) -> None:
        """Raises InputError for several ranks of a preset whose VAE cannot be sliced."""
        preset = self._settings.preset
        if preset in WHOLE_VAE and pod.size > 1:
            limit = f"one rank (--nproc-per-node 1), not {pod.size}: its VAE has no parallel form"
            raise InputError("preset", preset, limit)

    def lay_out(self, pod: Pod, codec: VideoCodec, checkpoint: Checkpoint) -> None:
        """Shards a network over the ranks. Raises InputError if the grid does not fit a size."""
        spec = checkpoint.spec
        sizes = self._settings.sizes_hw(checkpoint.sampling.size_hw)
        cells_hw = [spec.latent_size(*size_hw) for size_hw in sizes]
        chosen = self._settings.grid
        grid = read_grid(chosen) if chosen else choose_grid(pod.size, cells_hw[0])
        for cells in cells_hw:
            check_grid(grid, cells)
        pod.meet()  # creating groups is collective, and ranks finish loading at different times
        self._mesh = join_grid(grid)
        apply(codec.vae, self._mesh)
        _LOG.info("parallel layout", extra={"grid": str(grid), "rank": pod.rank})

    def exchanges(self) -> int:
        """Returns the number of exchanges that this rank has begun."""
        return self._mesh.everyone.traffic.exchanges if self._mesh else 0


def read_grid(text: str) -> Grid:
    """Parses ROWSxCOLUMNS: ``2x4`` is two rows of four slices. Raises InputError otherwise."""
    rows, _, columns = text.partition("x")
    if not (rows.isdecimal() and columns.isdecimal()):
        raise InputError("grid", text, "must be ROWSxCOLUMNS, such as 2x4")
    return Grid(int(rows), int(columns))


def coding(slicing: Slicing, pod: Pod) -> Role:
    """Returns the role of a rank of the VAE decoder. Raises InputError as ``Slicing.check``."""
    slicing.check(pod)
    spread = partial(slicing.lay_out, pod)
    made = loading(pod, spread)

    def follow(checkpoint: Checkpoint) -> Callable[[Command], None]:
        return CodecRank.load(checkpoint, pod, spread).carry_out

    return Role(made, registering(made), follow)
