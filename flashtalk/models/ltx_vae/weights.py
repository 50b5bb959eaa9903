"""Files of the LTX video VAE: the published folder ``VAE_LTX`` (a config and safetensors).

``LtxVae`` uses the published parameter names, so the state dict loads as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from flashtalk.errors import WeightsError
from flashtalk.models.checkpoint import build, load_state, read_config
from flashtalk.models.ltx_vae.config import LtxVaeConfig
from flashtalk.models.ltx_vae.model import LtxVae

PUBLISHED_FILE = "diffusion_pytorch_model.safetensors"


def load(
    folder: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> LtxVae:
    """Loads a folder such as ``VAE_LTX``.

    Args:
        folder: contains ``config.json`` and one safetensors file.
        device: device of the model.
        dtype: of the weights; ``None`` keeps the file's.

    Returns:
        The model, in evaluation mode, without gradients.

    Raises:
        WeightsError: no such files, an unsupported config, other names or shapes of tensors (one
            message lists them all), or unusable statistics.
    """
    config = load_config(folder)
    state = convert(load_state(folder))
    return build(lambda: LtxVae(config), state, device=device, dtype=dtype, source=folder)


def convert(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the published state dict; our names are the same.

    Raises WeightsError if the statistics of the latents, which every result is scaled by, are not
    finite or a deviation is not positive.
    """
    mean, std = published.get("latents_mean"), published.get("latents_std")
    if mean is not None and not mean.isfinite().all():
        raise WeightsError("latents_mean: must be finite")
    if std is not None and not (std.isfinite() & (std > 0)).all():
        raise WeightsError("latents_std: must be finite and positive")
    return dict(published)


def load_config(folder: Path) -> LtxVaeConfig:
    """Read ``config.json``. Raises WeightsError if it is missing or describes no such VAE."""
    return read_config(LtxVaeConfig, folder)
