"""Initial weights of a fresh run from a finished model."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint import load_state
from flashtalk.models.checkpoint.build import check_state
from flashtalk.overlays import Overlay, parse_overlays

_OVERLAY_FIELD = "start.overlay"
_BLOCK = re.compile(r"^(.*\bblocks\.\d+)\.")


@dataclass(frozen=True)
class StartConfig:
    """Weights with which a run of Stage 1 begins, besides those of the checkpoint folder.

    Args:
        overlay: files merged into the checkpoint's transformer, ``FILE`` or ``FILE:STRENGTH``, in
            this order (``engine.load``).
    """

    overlay: tuple[str, ...] = ()

    def overlays(self) -> tuple[Overlay, ...]:
        """Returns the checked overlays. Raises InputError as ``parse_overlays``."""
        return parse_overlays(self.overlay, _OVERLAY_FIELD)

    def check_fresh(self) -> None:
        """Raises InputError for overlays on random weights."""
        if self.overlay:
            raise InputError(_OVERLAY_FIELD, ",".join(self.overlay), "not with random networks")


def start_from(model: nn.Module, directory: Path, *, may_deepen: bool = False) -> list[str]:
    """Copies the weights in ``directory`` into ``model``.

    With ``may_deepen``, residual blocks that are missing in the weights keep their initial values.
    In the VAE these are identities: a deeper network starts as the shallower one.

    Returns:
        Names of those blocks.

    Raises:
        InputError: a missing folder.
        WeightsError: weights of another architecture.
    """
    if not directory.is_dir():
        raise InputError("--start-from", directory, "must be a folder of finished models by role")
    given = {name: tensor.float() for name, tensor in load_state(directory).items()}
    fresh = model.state_dict()
    trained = {match[1] for name in given if (match := _BLOCK.match(name))}
    new = {name: match[1] for name in fresh if (match := _BLOCK.match(name))}
    added = {name: block for name, block in new.items() if may_deepen and block not in trained}
    state = {**given, **{name: fresh[name] for name in added}}
    check_state(model, state, source=directory)
    if not all(torch.isfinite(tensor).all() for tensor in given.values()):
        raise WeightsError(f"{directory}: the weights are not finite")
    model.load_state_dict(state)
    return sorted(set(added.values()))
