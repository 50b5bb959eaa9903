"""Files of the video VAE: the published ``Wan2.1_VAE.pth`` and our own folder.

``VideoVAE`` uses the published parameter names, so the published flat state dict loads as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from flashtalk.models.checkpoint import read_config
from flashtalk.models.vae.config import VAEConfig

PUBLISHED_FILE = "Wan2.1_VAE.pth"


def convert(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the published state dict; our names are the same."""
    return dict(published)


def load_config(folder: Path) -> VAEConfig:
    """Read ``config.json``. Raises WeightsError if it is missing or does not describe a VAE."""
    return read_config(VAEConfig, folder)
