"""Files of the image encoder: the published CLIP checkpoint and our own folder.

The published file holds a whole CLIP model with its text tower; the visual tower's blocks have
one fused projection for queries, keys and values. Ours has transformers' names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from flashtalk.models.checkpoint import read_config
from flashtalk.models.clip.config import ClipConfig
from flashtalk.models.clip.model import ClipVision

PUBLISHED_FILE = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"

# Never used: the text tower, the logit scale, and layers above the last visual block.
UNUSED_PREFIXES = ("textual.", "log_scale", "visual.head", "visual.post_norm.")

_BLOCK = re.compile(r"visual\.transformer\.(\d+)\.(.+)")
_TRUNK = {
    "visual.patch_embedding.weight": "embeddings.patch_embedding.weight",
    "visual.cls_embedding": "embeddings.class_embedding",
    "visual.pos_embedding": "embeddings.position_embedding.weight",
    "visual.pre_norm.weight": "pre_layrnorm.weight",
    "visual.pre_norm.bias": "pre_layrnorm.bias",
}
# Leading axes of length one that the published file has and transformers does not have.
_EXTRA_AXES = {"visual.cls_embedding": 2, "visual.pos_embedding": 1}
_MODULES = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.proj": "self_attn.out_proj",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}
_FUSED = "attn.to_qkv"
_PARTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


def convert_published(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Converts a published state dict to our names, without unused tensors.

    The last visual block is dropped too: the tokens are the output of the block before it. Fused
    projections are split into views, without a copy. Unknown names are kept, so that the strict
    loader reports them.
    """
    blocks = {name: match for name in published if (match := _BLOCK.fullmatch(name))}
    last = max((int(match[1]) for match in blocks.values()), default=-1)
    ours: dict[str, Tensor] = {}
    for name, tensor in published.items():
        if name.startswith(UNUSED_PREFIXES):
            continue
        if match := blocks.get(name):
            if int(match[1]) != last:
                ours |= _block_tensors(int(match[1]), match[2], tensor)
        elif name in _TRUNK:
            axes = _EXTRA_AXES.get(name, 0)
            bare = tensor.shape[:axes] == (1,) * axes
            ours[_TRUNK[name]] = tensor.reshape(tensor.shape[axes:]) if bare else tensor
        else:
            ours[name] = tensor
    return ours


def _block_tensors(index: int, name: str, tensor: Tensor) -> dict[str, Tensor]:
    module, _, kind = name.rpartition(".")
    prefix = f"encoder.layers.{index}."
    if module == _FUSED and tensor.shape[0] % 3 == 0:
        cuts = zip(_PARTS, tensor.chunk(3), strict=True)
        return {f"{prefix}{part}.{kind}": cut for part, cut in cuts}
    return {f"{prefix}{_MODULES.get(module, module)}.{kind}": tensor}


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Converts our state dict to the published names; inverse of ``convert_published``.

    The missing last block is written as zeros; the other unused tensors are not written.
    """
    published = {}
    for name, ours in _TRUNK.items():
        shape = (1,) * _EXTRA_AXES.get(name, 0) + tuple(state[ours].shape)
        published[name] = state[ours].reshape(shape)
    layers = 1 + max(int(n.split(".")[2]) for n in state if n.startswith("encoder.layers."))
    for index in range(layers):
        block = _published_block(state, index)
        published |= {f"visual.transformer.{index}.{name}": t for name, t in block.items()}
        published |= {
            f"visual.transformer.{layers}.{name}": torch.zeros_like(t) for name, t in block.items()
        }
    return published


def _published_block(state: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    prefix = f"encoder.layers.{index}."
    block = {
        f"{_FUSED}.{kind}": torch.cat([state[f"{prefix}{part}.{kind}"] for part in _PARTS])
        for kind in ("weight", "bias")
    }
    for theirs, ours in _MODULES.items():
        block |= {
            f"{theirs}.{kind}": state[f"{prefix}{ours}.{kind}"] for kind in ("weight", "bias")
        }
    return block


def published_shapes(config: ClipConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the visual tower's embeddings and blocks in a published file."""
    with torch.device("meta"):
        state = ClipVision(config).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in to_published(state).items()}


def load_config(folder: Path) -> ClipConfig:
    """Read ``config.json``. Raises WeightsError if it is missing or describes no such tower."""
    return read_config(ClipConfig, folder)
