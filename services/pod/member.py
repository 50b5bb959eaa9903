"""A rank of a pod: commands from the leader, agreement between ranks, the watch.

Commands are sent over gloo between the hosts' processors, even if the model communicates with NCCL:
a command is small, and waiting for one must not keep a GPU busy.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from flashtalk.errors import FlashTalkError
from flashtalk.serving.lane import Stopped
from services.pod.watch import Limits, Progress, Watch, give_up

COMMAND_DEADLINE = timedelta(seconds=60)
"""A follower of a warm pod hears of its leader at least so often; see ``PING_S``."""
START_DEADLINE = timedelta(minutes=30)
"""Deadline of the start: ranks load large weights, and their leader computes their digest."""
PING_S = 15.0
_LEADER = 0


class PodError(FlashTalkError):
    """The ranks cannot work together."""


def end_rank(code: int) -> NoReturn:
    """Ends this process after all of its work.

    The interpreter is not finalised: gloo's threads may still hold tensors of the last exchange,
    and abort the process if the interpreter is gone.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def started_as_pod() -> bool:
    """Whether torchrun started this process."""
    return dist.is_torchelastic_launched()


@dataclass
class Pod:
    """A rank's side of its group (``services.pod.group.PodGroup``).

    Args:
        rank: number of this rank.
        size: number of ranks.
        local_rank: number of the device on this host.
        starting: gloo group of all ranks until the pod is warm.
        commands: gloo group of all ranks after that.
        progress: progress of this rank.
        watch: watches the other ranks.
    """

    rank: int
    size: int
    local_rank: int
    starting: dist.ProcessGroup
    commands: dist.ProcessGroup
    progress: Progress
    watch: Watch

    @property
    def leads(self) -> bool:
        """Whether this rank is the leader."""
        return self.rank == _LEADER

    @property
    def group(self) -> dist.ProcessGroup:
        """The group that commands are sent over; all ranks change it at the same command."""
        return self.commands if self.progress.warm else self.starting

    def meet(self) -> None:
        """Barrier of all ranks; only before the pod is warm."""
        dist.barrier(group=self.starting)

    def send(self, command: Any) -> None:
        """Leader: sends a command to every follower."""
        self._begin()
        payload = torch.frombuffer(bytearray(pickle.dumps(command)), dtype=torch.uint8)
        dist.broadcast(torch.tensor([len(payload)]), group=self.group, group_src=_LEADER)
        dist.broadcast(payload, group=self.group, group_src=_LEADER)

    def receive(self) -> Any:
        """Follower: waits for the next command, at most the deadline of ``group``."""
        self.rest()
        length = torch.zeros(1, dtype=torch.int64)
        dist.broadcast(length, group=self.group, group_src=_LEADER)
        self._begin()
        payload = torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(payload, group=self.group, group_src=_LEADER)
        return pickle.loads(payload.numpy().tobytes())

    def agree(self, wanted: bool) -> bool:
        """Called by all ranks at the same point; returns the leader's ``wanted``."""
        self.progress.steps += 1
        word = torch.tensor([int(wanted)], dtype=torch.uint8)
        dist.broadcast(word, group=self.group, group_src=_LEADER)
        return bool(word.item())

    def rest(self) -> None:
        """Marks a command as done: until the next one, missing progress is no fault."""
        self.progress.busy = False

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Leader: context around a command and the leader's share of the work.

        Errors that every rank raises at the same point are passed on. Any other error may have
        happened on one rank only, so the ranks cannot continue together and the pod ends.
        """
        try:
            yield
        except (FlashTalkError, Stopped):
            raise
        except Exception as error:
            give_up(f"rank {self.rank}: {type(error).__name__}: {error}")
        finally:
            self.rest()

    def warm(self) -> None:
        """Marks the end of the warm-up: from now on a command without progress is a fault."""
        self.progress.warm = True

    def leave(self) -> None:
        """Leaves the pod at a normal end."""
        self.watch.leave()
        dist.destroy_process_group()

    def _begin(self) -> None:
        self.progress.steps += 1
        self.progress.busy = True


def join_pod(device_type: str, limits: Limits, more_steps: Callable[[], int] = lambda: 0) -> Pod:
    """Joins the other ranks that torchrun started, and starts the watch.

    Args:
        device_type: ``cuda`` or ``cpu``, of the model.
        limits: limits of the watch.
        more_steps: returns progress that is counted elsewhere (the model's exchanges).
    """
    backend = "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo"
    store, rank, size = next(rendezvous("env://"))
    dist.init_process_group(
        backend,
        store=PrefixStore("pod", store),
        rank=rank,
        world_size=size,
        timeout=COMMAND_DEADLINE,
    )
    starting = dist.new_group(backend="gloo", timeout=START_DEADLINE)
    commands = dist.new_group(backend="gloo", timeout=COMMAND_DEADLINE)
    # A separate connection: the watch must not wait for the model's use of the store.
    beats, _, _ = next(rendezvous("env://"))
    progress = Progress()
    watch = Watch(beats, rank, size, limits, progress, more_steps)
    watch.start()
    # Ranks read the heartbeats of others only after all have written one.
    dist.barrier(group=commands)
    local_rank = dist.get_node_local_rank(fallback_rank=rank)
    return Pod(rank, size, local_rank, starting, commands, progress, watch)
