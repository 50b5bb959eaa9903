"""Prepares models for inference: joins projections, converts linear layers to float8, and stores
weights in the memory order of the kernels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from flashtalk.models.dit.block import Block
from flashtalk.models.dit.model import DiT
from flashtalk.models.flashhead.block import Block as FlashHeadBlock
from flashtalk.models.flashhead.model import FlashHead
from flashtalk.ops.attention import Backend, attention, frame_attention, whole_attention
from flashtalk.ops.float8 import Float8Linear
from flashtalk.ops.linear import Linear

Transformer = DiT | FlashHead
AnyBlock = Block | FlashHeadBlock


def fix_attention(network: Transformer, backend: Backend) -> None:
    """Sets the attention kernel of all blocks, in place. The parallel implementations in the seams
    get the kernel separately (``parallel.apply``)."""
    for block in _blocks(network):
        block.self_attn.core = partial(whole_attention, backend=backend)
        speech = partial(frame_attention, backend=backend)
        if isinstance(block, Block):
            block.cross_attn.core = partial(attention, backend=backend)
            block.audio_cross_attn.core = speech
        else:
            block.cross_attn.core = speech


def join_projections(network: Transformer) -> None:
    """Joins the query, key and value projections of every self-attention, in place."""
    for block in _blocks(network):
        block.self_attn.join_projections()


def to_float8(network: Transformer) -> int:
    """Converts linear layers of the blocks to float8, in place; returns their number.

    Layers that run once per session or chunk (keys and values of text, portrait and speech) are
    not converted: they cost little, and everything depends on them.
    """
    count = 0
    for block in _blocks(network):
        for parent, name, layer in list(_every_step(block)):
            if Float8Linear.takes(layer):
                setattr(parent, name, Float8Linear(layer))
                count += 1
    return count


def lay_out_weights(vae: nn.Module) -> None:
    """Stores weights of 3D convolutions in the memory order of the kernels, in place."""
    for module in vae.modules():
        if isinstance(module, nn.Conv3d):
            weight = module.weight.detach().contiguous(memory_format=torch.channels_last_3d)
            module.weight = nn.Parameter(weight, requires_grad=False)


def _every_step(block: AnyBlock) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    names: list[tuple[nn.Module, tuple[str, ...]]] = [
        (block.self_attn, ("qkv", "q", "k", "v", "o")),
        (block.cross_attn, ("q", "o")),
        (block.ffn, ("0", "2")),
    ]
    if isinstance(block, Block):
        names.append((block.audio_cross_attn, ("q_linear", "proj")))
    for parent, children in names:
        for name in children:
            layer = getattr(parent, name, None)
            if isinstance(layer, Linear):
                yield parent, name, layer


def _blocks(network: Transformer) -> list[AnyBlock]:
    return [block for block in network.blocks if isinstance(block, AnyBlock)]
