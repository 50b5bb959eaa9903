"""Files of the speech encoder: a published ``chinese-wav2vec2-base`` folder and our own.

The published file is a pre-training checkpoint: every name under ``wav2vec2.``, weight norm in
its legacy spelling, and tensors that only pre-training needs. Ours has transformers' names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from flashtalk.models.checkpoint import read_config
from flashtalk.models.wav2vec2.config import AudioConfig
from flashtalk.models.wav2vec2.model import Wav2Vec2Features

PUBLISHED_FOLDER = "chinese-wav2vec2-base"
PUBLISHED_FILES = ("model.safetensors", "pytorch_model.bin")

# Pre-training only: the mask's embedding, the quantiser and its projections, a CTC read-out.
UNUSED_PREFIXES = ("masked_spec_embed", "quantizer.", "project_hid.", "project_q.", "lm_head.")

_PREFIX = "wav2vec2."
_POSITION = "encoder.pos_conv_embed.conv."
_LEGACY = {
    f"{_POSITION}weight_g": f"{_POSITION}parametrizations.weight.original0",
    f"{_POSITION}weight_v": f"{_POSITION}parametrizations.weight.original1",
}
_MODERN = {ours: legacy for legacy, ours in _LEGACY.items()}


def convert_published(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Converts a published state dict to our names, without the pre-training tensors.

    Both spellings of weight norm are read, with and without the ``wav2vec2.`` prefix. Unknown names
    are kept, so that the strict loader reports them.
    """
    named = {name.removeprefix(_PREFIX): tensor for name, tensor in published.items()}
    return {
        _LEGACY.get(name, name): tensor
        for name, tensor in named.items()
        if not name.startswith(UNUSED_PREFIXES)
    }


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Converts our state dict to the published names; inverse of ``convert_published``."""
    return {_PREFIX + _MODERN.get(name, name): tensor for name, tensor in state.items()}


def published_shapes(config: AudioConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the encoder in a published file, without the pre-training heads."""
    with torch.device("meta"):
        state = Wav2Vec2Features(config).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in to_published(state).items()}
    return shapes | {f"{_PREFIX}masked_spec_embed": (config.hidden_size,)}


def load_config(folder: Path) -> AudioConfig:
    """Read ``config.json``, published or ours.

    Raises WeightsError if it is missing or does not describe an encoder of this kind.
    """
    return read_config(AudioConfig, folder)
