"""Loads a pipeline from a folder of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import flashtalk
from flashtalk.engine.checkpoint import Checkpoint
from flashtalk.engine.flashhead_checkpoint import VARIANTS, FlashHeadCheckpoint
from flashtalk.engine.flashtalk_checkpoint import FlashTalkCheckpoint
from flashtalk.engine.pipeline import Architecture, Pipeline
from flashtalk.engine.placement import Placement
from flashtalk.engine.sampling import Sampling
from flashtalk.errors import InputError
from flashtalk.overlays import Overlay
from flashtalk.presets import PRESETS, TINY, needs_folder


def shipped_weights() -> Path:
    """Returns the folder of the shipped weights: beside the package or in the working directory.

    Raises:
        InputError: there is none, as in a wheel without its checkout.
    """
    places = [Path(flashtalk.__file__).resolve().parents[1], Path.cwd()]
    for place in places:
        if (found := place / "weights" / TINY).is_dir():
            return found
    raise InputError("weights", "weights/tiny", "not found here or beside the package; name one")


def open_checkpoint(
    preset: str = TINY,
    weights_dir: Path | str | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    sampling: Sampling | None = None,
    architecture: Architecture | None = None,
    compiled: bool = False,
    attention: str = "auto",
    overlays: Sequence[Overlay] = (),
) -> Checkpoint:
    """Finds a folder of weights and reads all of it except the weights.

    Arguments and errors as in ``load_pipeline``.
    """
    if preset not in PRESETS:
        raise InputError("preset", preset, f"one of {', '.join(PRESETS)}")
    if weights_dir is None and preset != TINY:
        raise InputError("weights", "none given", needs_folder(preset))
    folder = shipped_weights() if weights_dir is None else Path(weights_dir)
    placement = Placement.choose(preset, device, dtype, compiled=compiled, attention=attention)
    for overlay in overlays:
        overlay.check()
    if preset in VARIANTS:
        return FlashHeadCheckpoint.open(
            preset, folder, placement, sampling=sampling, overlays=overlays
        )
    return FlashTalkCheckpoint.open(
        preset,
        folder,
        placement,
        sampling=sampling,
        architecture=architecture,
        overlays=overlays,
    )


def load_pipeline(
    preset: str = TINY,
    weights_dir: Path | str | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    sampling: Sampling | None = None,
    architecture: Architecture | None = None,
    compiled: bool = False,
    attention: str = "auto",
    overlays: Sequence[Overlay] = (),
    offload_encoders: bool = False,
) -> Pipeline:
    """Loads a folder of weights, in the published layout or in this project's own.

    Args:
        preset: ``tiny`` or ``flashtalk-14b``.
        weights_dir: the folder; ``None``: the shipped weights of ``tiny``.
        device, dtype: as in ``Placement.choose``. Speech features are always float32.
        sampling: replaces the folder's ``pipeline.json`` or the published settings.
        architecture: sizes of a published folder with models of other sizes. Transformer and
            speech encoder have theirs in their own ``config.json``.
        compiled: transformer and VAE use torch.compile, at the first call of each size.
        attention: ``auto``, or a kernel for the transformer (``ops.attention``).
        overlays: files merged into the transformer's weights, in this order: plain tensors add and
            override names, LoRA files change weights (``models.checkpoint.merge``).
        offload_encoders: the encoders of portrait and prompt are on the device only while they
            are used (``engine.encoders``).

    Raises:
        InputError: an unknown preset or device, a missing folder, or an impossible overlay.
        WeightsError: parts are missing, or tensors do not fit; one message names them all.
    """
    return open_checkpoint(
        preset,
        weights_dir,
        device=device,
        dtype=dtype,
        sampling=sampling,
        architecture=architecture,
        compiled=compiled,
        attention=attention,
        overlays=overlays,
    ).load(offload_encoders=offload_encoders)
