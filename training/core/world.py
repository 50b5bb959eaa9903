"""The processes of a training: one alone, or many under torchrun; output and agreement."""

from __future__ import annotations

import datetime
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from flashtalk.errors import InputError

ResultT = TypeVar("ResultT")

_DEADLINE = datetime.timedelta(minutes=10)


@dataclass(frozen=True)
class World:
    """The ranks, as seen by one of them.

    Args:
        rank, size: number of this process, and of all.
        device: device of its tensors.
        mesh: over all ranks; ``None`` for a single process.
    """

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh | None = None

    @classmethod
    def alone(cls, device: str | torch.device = "cpu") -> World:
        """Returns the world of a single process."""
        return cls(0, 1, torch.device(device))

    @classmethod
    def join(cls, device: str = "cpu") -> World:
        """Joins the processes of torchrun; a single process without it."""
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
        """Leaves the process group; the counterpart of ``join``."""
        if self.mesh is not None:
            dist.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this rank writes files and prints."""
        return self.rank == 0

    def rows(self, batch: int) -> slice:
        """Returns this rank's rows of a global batch. Raises InputError if it does not divide."""
        if batch % self.size:
            raise InputError("batch", batch, f"must be a multiple of the {self.size} ranks")
        each = batch // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def agree(self, numbers: Sequence[int]) -> list[int]:
        """Returns rank 0's numbers on every rank: different values would block collectives."""
        if self.mesh is None:
            return list(numbers)
        shared = torch.tensor(list(numbers), dtype=torch.int64, device=self.device)
        dist.broadcast(shared, src=0)
        return [int(number) for number in shared.tolist()]

    def mean(self, value: Tensor) -> Tensor:
        """Returns the mean over ranks of a tensor without a graph."""
        if self.mesh is None:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.size

    def means(self, values: Mapping[str, float]) -> dict[str, float]:
        """Returns the mean over ranks of named numbers, in the same order on every rank."""
        if self.mesh is None:
            return dict(values)
        row = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        return dict(zip(values, self.mean(row).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether the condition holds on any rank, so that all of them stop together."""
        if self.mesh is None:
            return flag
        shared = torch.tensor([int(flag)], device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return bool(shared.item())

    def in_turn(self, work: Callable[[], ResultT]) -> ResultT:
        """Runs work that writes files: on the first rank, then on the others, which reuse them."""
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
    """Ends this process as ``sys.exit``, after all of its work; for a rank's entry point.

    A rank skips the interpreter's shutdown: gloo's threads may still hold the last collective's
    tensors and need the interpreter to release them; without it they abort the process (seen in
    one of forty runs on a busy machine: exit code -6 after finished work).
    """
    if not dist.is_torchelastic_launched():
        sys.exit(code)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
