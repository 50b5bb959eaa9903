"""Files of FlashHead: the published diffusers folder and our own, in the same format.

``FlashHead`` uses the published parameter names. A published file also contains layers that the
published code never calls; they are dropped by name, so that everything else stays strict.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from flashtalk.models.checkpoint import read_config
from flashtalk.models.flashhead.config import FlashHeadConfig

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


def load_config(folder: Path) -> FlashHeadConfig:
    """Read ``config.json``, published or ours.

    Raises WeightsError if it is missing or does not describe a network of this kind.
    """
    return read_config(FlashHeadConfig, folder)
