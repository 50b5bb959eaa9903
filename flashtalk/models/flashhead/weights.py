"""Files of FlashHead: the published diffusers folder and our own, in the same format.

``FlashHead`` uses the published parameter names. A published file also contains layers that the
published code never calls; they are dropped by name, so that everything else stays strict.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.flashhead.config import FlashHeadConfig

CONFIG_FILE = "config.json"
WEIGHTS_STEM = "diffusion_pytorch_model"

# A text embedding and an older audio embedding.
UNUSED = frozenset(
    f"{layer}.{parameter}"
    for layer in (
        "text_embedding.0",
        "text_embedding.2",
        *(f"audio_emb.proj.{index}" for index in (0, 1, 3, 4)),
    )
    for parameter in ("weight", "bias")
)


def convert(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the published state dict without its unused tensors; the other names are ours."""
    return {name: tensor for name, tensor in published.items() if name not in UNUSED}


def save_config(config: FlashHeadConfig, folder: Path) -> None:
    """Write ``config.json`` into an existing folder."""
    text = json.dumps(config.to_dict(), indent=2)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")


def load_config(folder: Path) -> FlashHeadConfig:
    """Read ``config.json``, published or ours.

    Raises WeightsError if it is missing or does not describe a network of this kind.
    """
    path = folder / CONFIG_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return FlashHeadConfig.from_dict(values)
    except (OSError, ValueError, TypeError, AttributeError, InputError) as error:
        raise WeightsError(f"{path}: {error}") from error
