"""Files of the text encoder: the published umT5-xxl encoder and our own folder.

Ours has transformers' names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from flashtalk.models.checkpoint import read_config
from flashtalk.models.umt5.config import TextConfig
from flashtalk.models.umt5.model import TextEncoder

PUBLISHED_FILE = "models_t5_umt5-xxl-enc-bf16.pth"
PUBLISHED_TOKENIZER = "google/umt5-xxl"

_TRUNK = {
    "token_embedding.weight": "encoder.embed_tokens.weight",
    "norm.weight": "encoder.final_layer_norm.weight",
}
_BLOCK = {
    "norm1.weight": "layer.0.layer_norm.weight",
    "attn.q.weight": "layer.0.SelfAttention.q.weight",
    "attn.k.weight": "layer.0.SelfAttention.k.weight",
    "attn.v.weight": "layer.0.SelfAttention.v.weight",
    "attn.o.weight": "layer.0.SelfAttention.o.weight",
    "pos_embedding.embedding.weight": "layer.0.SelfAttention.relative_attention_bias.weight",
    "norm2.weight": "layer.1.layer_norm.weight",
    "ffn.gate.0.weight": "layer.1.DenseReluDense.wi_0.weight",
    "ffn.fc1.weight": "layer.1.DenseReluDense.wi_1.weight",
    "ffn.fc2.weight": "layer.1.DenseReluDense.wo.weight",
}
_PUBLISHED = {ours: theirs for theirs, ours in (_TRUNK | _BLOCK).items()}
_THEIRS = re.compile(r"blocks\.(\d+)\.(.+)")
_OURS = re.compile(r"encoder\.block\.(\d+)\.(.+)")


def convert_published(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Converts a published state dict to our names; unknown names are kept for the loader."""
    return {_ours(name): tensor for name, tensor in published.items()}


def _ours(name: str) -> str:
    match = _THEIRS.fullmatch(name)
    if match and match[2] in _BLOCK:
        return f"encoder.block.{match[1]}.{_BLOCK[match[2]]}"
    return _TRUNK.get(name, name)


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Converts our state dict to the published names; inverse of ``convert_published``."""
    published = {}
    for name, tensor in state.items():
        match = _OURS.fullmatch(name)
        theirs = f"blocks.{match[1]}.{_PUBLISHED[match[2]]}" if match else _PUBLISHED[name]
        published[theirs] = tensor
    return published


def published_shapes(config: TextConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of everything in a published file."""
    with torch.device("meta"):
        state = TextEncoder(config).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in to_published(state).items()}


def load_config(folder: Path) -> TextConfig:
    """Read ``config.json``. Raises WeightsError if it is missing or describes no such encoder."""
    return read_config(TextConfig, folder)
