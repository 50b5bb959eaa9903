"""Files of the video VAE: the published ``Wan2.1_VAE.pth`` and our own folder.

``VideoVAE`` uses the published parameter names, so the published flat state dict loads as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.vae.config import VAEConfig

PUBLISHED_FILE = "Wan2.1_VAE.pth"
CONFIG_FILE = "config.json"


def convert(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the published state dict; our names are the same."""
    return dict(published)


def save_config(config: VAEConfig, folder: Path) -> None:
    """Write ``config.json`` (latent statistics included) into an existing folder."""
    text = json.dumps(config.to_dict(), indent=2)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")


def load_config(folder: Path) -> VAEConfig:
    """Read ``config.json``. Raises WeightsError if it is missing or does not describe a VAE."""
    path = folder / CONFIG_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return VAEConfig.from_dict(values)
    except (OSError, ValueError, TypeError, AttributeError, InputError) as error:
        raise WeightsError(f"{path}: {error}") from error
