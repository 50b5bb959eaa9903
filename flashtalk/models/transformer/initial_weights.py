"""Weights at the start of training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from flashtalk.models.transformer.patches import Head, PatchEmbedding

_SMALL_STD = 0.02


@torch.no_grad()
def draw_initial_weights(
    model: nn.Module, patches: PatchEmbedding, embeddings: Iterable[nn.Module], head: Head
) -> None:
    """Xavier-uniform layers, small embeddings, and a head that returns zero, in place.

    Args:
        model: the network, with everything below.
        patches: its patch embedding.
        embeddings: layers of which the linear ones start small.
        head: its last layer.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    nn.init.xavier_uniform_(patches.weight.flatten(1))
    for layer in embeddings:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=_SMALL_STD)
    nn.init.zeros_(head.head.weight)
