"""Shards networks over the ranks, and gathers their tensors.

Parameters, gradients and optimizer states are sharded over all ranks (FSDP2), which the report's
32 GPUs need; a single process shards nothing and runs the same code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    CheckpointImpl,
    checkpoint_wrapper,
)
from torch.distributed.fsdp import (
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor, distribute_tensor

from flashtalk.models.checkpoint.build import check_state
from training.core.world import World


@dataclass(frozen=True)
class ShardPlan:
    """How a network is sharded.

    Args:
        bf16: compute in bfloat16; master weights, optimizer and reductions stay float32.
        checkpointing: blocks are recomputed in the backward pass instead of stored.
        methods: methods of the network that need its weights gathered, like forward.
    """

    bf16: bool = False
    checkpointing: bool = False
    methods: tuple[str, ...] = ()


def shard(
    network: nn.Module,
    world: World,
    plan: ShardPlan,
    state: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """Shards a network over the ranks, block by block and in place.

    Args:
        network: with or without a list ``blocks``; on the ``meta`` device it needs ``state``.
        world: the ranks.
        plan: how it is sharded.
        state: full weights, possibly memory-mapped on every rank; the rank's shard is copied.
    """
    blocks = getattr(network, "blocks", None)
    if plan.checkpointing and isinstance(blocks, nn.ModuleList):
        wrap = partial(checkpoint_wrapper, checkpoint_impl=CheckpointImpl.NO_REENTRANT)
        for index, block in enumerate(blocks):
            blocks[index] = wrap(block)
    if world.mesh is not None:
        # Inputs keep their dtypes: a noise level must not be converted to bfloat16.
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if plan.bf16 else None,
            reduce_dtype=torch.float32,
            cast_forward_inputs=False,
        )
        for block in blocks if isinstance(blocks, nn.ModuleList) else ():
            fully_shard(block, mesh=world.mesh, mp_policy=policy)
        fully_shard(network, mesh=world.mesh, mp_policy=policy)
        for method in plan.methods:
            register_fsdp_forward_method(network, method)
    if state is not None:
        if any(p.is_meta for p in network.parameters()):
            network.to_empty(device=world.device)
        fill(network, state)
    return network


@torch.no_grad()
def fill(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copies full weights one by one, each rank its shard; dtypes are the network's.

    Raises:
        WeightsError: tensors are missing, unknown or of another shape.
    """
    check_state(network, state, source="weights")
    for name, tensor in network.state_dict().items():
        tensor.copy_(shard_like(state[name].to(device=tensor.device, dtype=tensor.dtype), tensor))


def full_tensor(tensor: Tensor) -> Tensor:
    """Gathers a tensor from its shards; collective."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shard_like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """Shards a tensor that every rank has, like another one."""
    if not isinstance(pattern, DTensor):
        return tensor
    # Every rank slices its own part: no communication.
    return distribute_tensor(tensor, pattern.device_mesh, pattern.placements, src_data_rank=None)
