"""The processes that train together: one alone, or many under torchrun; who shards, who speaks.

Parameters, gradients and optimizer states are sharded over all ranks (FSDP2), which the report's
32 GPUs need (training specification 2.8); one process shards nothing and runs the same code.
"""

from __future__ import annotations

import datetime
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    CheckpointImpl,
    checkpoint_wrapper,
)
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor, distribute_tensor

from flashtalk.errors import InputError
from flashtalk.models.checkpoint.build import check_state

ResultT = TypeVar("ResultT")

_DEADLINE = datetime.timedelta(minutes=10)


@dataclass(frozen=True)
class World:
    """One rank's view.

    Args:
        rank, size: which process, of how many.
        device: where its tensors live.
        mesh: over all ranks; ``None`` for a process alone.
    """

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh | None = None

    @classmethod
    def alone(cls, device: str | torch.device = "cpu") -> World:
        """A single process."""
        return cls(0, 1, torch.device(device))

    @classmethod
    def join(cls, device: str = "cpu") -> World:
        """The processes that torchrun started, or this one alone."""
        if not dist.is_torchelastic_launched():
            return cls.alone(device)
        backend = "nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=_DEADLINE)
        rank, size = dist.get_rank(), dist.get_world_size()
        if device == "cuda":
            torch.cuda.set_device(dist.get_node_local_rank())
        here = torch.device("cuda", dist.get_node_local_rank()) if device == "cuda" else device
        return cls(rank, size, torch.device(here), init_device_mesh(device, (size,)))

    def leave(self) -> None:
        """The counterpart of ``join``."""
        if self.mesh is not None:
            dist.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this rank writes files and speaks to people."""
        return self.rank == 0

    def rows(self, batch: int) -> slice:
        """This rank's rows of a global batch. Raises InputError if it does not divide."""
        if batch % self.size:
            raise InputError("batch", batch, f"a multiple of the {self.size} ranks")
        each = batch // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def agree(self, numbers: Sequence[int]) -> list[int]:
        """Rank 0's numbers, on every rank: another k here than there would stall collectives."""
        if self.mesh is None:
            return list(numbers)
        told = torch.tensor(list(numbers), dtype=torch.int64, device=self.device)
        dist.broadcast(told, src=0)
        return [int(number) for number in told.tolist()]

    def mean(self, value: Tensor) -> Tensor:
        """The mean over ranks of a tensor that has no graph."""
        if self.mesh is None:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.size

    def means(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean over ranks of named numbers, which every rank gives in the same order."""
        if self.mesh is None:
            return dict(values)
        row = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        return dict(zip(values, self.mean(row).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether any rank says so: all stop, or none."""
        if self.mesh is None:
            return flag
        told = torch.tensor([int(flag)], device=self.device)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        return bool(told.item())

    def in_turn(self, work: Callable[[], ResultT]) -> ResultT:
        """Work that leaves files: the first rank does it, the others then find it done."""
        if self.first:
            done = work()
            self.barrier()
            return done
        self.barrier()
        return work()

    def barrier(self) -> None:
        """Waits for all ranks."""
        if self.mesh is not None:
            dist.barrier()


def end_process(code: int) -> NoReturn:
    """Ends this process, after all of its work, as ``sys.exit`` does; for a rank's entry point.

    A rank does not take its interpreter down: gloo's threads may still hold the last collective's
    tensors, they need the interpreter to drop them, and one that finds it gone aborts the process
    (seen in one of forty runs on a busy machine: exit code -6 after finished work).
    """
    if not dist.is_torchelastic_launched():
        sys.exit(code)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@dataclass(frozen=True)
class ShardPlan:
    """How a network is laid over the ranks.

    Args:
        bf16: compute in bfloat16; master weights, optimizer and reductions stay float32.
        checkpointing: blocks are computed again in the backward pass instead of kept.
        methods: of the network that are called like a forward.
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
    """Lays a network out over the ranks, block by block and in place.

    Args:
        network: with a list ``blocks``, or none; on the ``meta`` device it needs ``state``.
        world: the ranks.
        plan: see there.
        state: full weights, which every rank may have mapped from a file; its shard is copied.
    """
    blocks = getattr(network, "blocks", None)
    if plan.checkpointing and isinstance(blocks, nn.ModuleList):
        wrap = partial(checkpoint_wrapper, checkpoint_impl=CheckpointImpl.NO_REENTRANT)
        for index, block in enumerate(blocks):
            blocks[index] = wrap(block)
    if world.mesh is not None:
        # Inputs keep their types: a noise level must not become bfloat16 on its way in.
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
    """Copies full weights, one after the other, each rank its shard; types are the network's.

    Raises:
        WeightsError: tensors are missing, unknown or of another shape.
    """
    check_state(network, state, source="weights")
    for name, tensor in network.state_dict().items():
        tensor.copy_(like(state[name].to(device=tensor.device, dtype=tensor.dtype), tensor))


def whole(tensor: Tensor) -> Tensor:
    """A tensor put together again from its shards; every rank has to ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """A tensor that every rank has, laid out like another one."""
    if not isinstance(pattern, DTensor):
        return tensor
    # Every rank cuts its own part out: nothing is sent.
    return distribute_tensor(tensor, pattern.device_mesh, pattern.placements, src_data_rank=None)
