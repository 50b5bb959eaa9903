"""The ranks of one model as groups, and their communication.

Legend: P ranks of a group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from flashtalk.errors import InputError
from flashtalk.parallel.layout import Layout

DEADLINE = timedelta(seconds=60)
"""Deadline of one exchange. A rank that does not answer is dead or stuck, as is its group."""


@dataclass
class Traffic:
    """Bytes that this rank has sent, by purpose; tests compare them with ``traffic.py``.

    ``exchanges`` counts started exchanges equally on all ranks, so it shows which rank is behind.
    """

    sent_bytes: Counter[str] = field(default_factory=Counter)
    exchanges: int = 0

    def begin(self) -> None:
        """Counts an exchange of all ranks of a group, independent of what each of them sends."""
        self.exchanges += 1

    def note(self, kind: str, count: int, like: Tensor) -> None:
        """Counts ``count`` elements of the type of ``like``."""
        self.sent_bytes[kind] += count * like.element_size()


@dataclass(frozen=True)
class RankGroup:
    """Ranks that exchange tensors; a group of one exchanges nothing.

    Args:
        index: index of this rank in the group.
        size: P.
        handle: None for a group of one.
        traffic: counts the sent bytes.
    """

    index: int
    size: int
    handle: dist.ProcessGroup | None
    traffic: Traffic

    def all_to_all(self, parts: Sequence[Tensor], counts: Sequence[int], kind: str) -> list[Tensor]:
        """Sends ``parts[j]`` to rank j; returns the tensors that each rank sent to this one.

        Args:
            parts: P tensors of one type, any sizes.
            counts: number of elements from every rank; [P] flat tensors are returned.
            kind: purpose, for the traffic.
        """
        if self.handle is None:
            return [parts[0].flatten()]
        sizes = [part.numel() for part in parts]
        sent = torch.cat([part.reshape(-1) for part in parts])
        received = sent.new_empty(sum(counts))
        self.traffic.begin()
        self.traffic.note(kind, sent.numel() - sizes[self.index], sent)
        dist.all_to_all_single(received, sent, list(counts), sizes, group=self.handle)
        return list(received.split(list(counts)))

    def all_gather(self, mine: Tensor, shapes: Sequence[Sequence[int]], kind: str) -> list[Tensor]:
        """Returns every rank's tensor; all ranks know the shapes."""
        if self.handle is None:
            return [mine]
        counts = [torch.Size(shape).numel() for shape in shapes]
        # Collectives need equal sizes; shorter tensors are padded at the end.
        row = mine.new_zeros(max(counts))
        row[: mine.numel()] = mine.reshape(-1)
        rows = list(row.new_empty(self.size, len(row)).unbind())
        self.traffic.begin()
        self.traffic.note(kind, (self.size - 1) * len(row), row)
        dist.all_gather(rows, row, group=self.handle)
        parts = zip(rows, counts, shapes, strict=True)
        return [part[:count].view(*shape) for part, count, shape in parts]

    def pass_on(self, mine: Tensor, incoming: Tensor, kind: str) -> list[dist.Work]:
        """Starts to send to the next rank of the ring and to receive from the previous one.

        Returns:
            Handles to wait for (``finish``) before ``incoming`` is read or ``mine`` is changed.
        """
        following, before = (self.index + 1) % self.size, (self.index - 1) % self.size
        self.traffic.begin()
        self.traffic.note(kind, mine.numel(), mine)
        exchange = [
            dist.P2POp(dist.isend, mine, group=self.handle, group_peer=following),
            dist.P2POp(dist.irecv, incoming, group=self.handle, group_peer=before),
        ]
        return list(dist.batch_isend_irecv(exchange))

    def exchange(
        self, sends: Sequence[tuple[int, Tensor]], wants: Sequence[tuple[int, Tensor]], kind: str
    ) -> None:
        """Sends tensors to ranks and waits for the tensors of others.

        Args:
            sends: at most one per rank, contiguous.
            wants: at most one receive buffer per rank, contiguous.
            kind: purpose, for the traffic.
        """
        operations = [
            dist.P2POp(call, tensor, group=self.handle, group_peer=peer)
            for call, pairs in ((dist.isend, sends), (dist.irecv, wants))
            for peer, tensor in pairs
            if tensor.numel()
        ]
        self.traffic.begin()
        for _, tensor in sends:
            self.traffic.note(kind, tensor.numel(), tensor)
        finish(list(dist.batch_isend_irecv(operations)) if operations else [])


def finish(works: Sequence[dist.Work]) -> None:
    """Waits for the handles of ``RankGroup.pass_on``."""
    for work in works:
        work.wait()


@dataclass(frozen=True)
class Mesh:
    """The ranks of one model.

    Args:
        layout: the degrees of parallelism.
        rank: number of this rank.
        everyone, ulysses, ring: the groups of this rank.
    """

    layout: Layout
    rank: int
    everyone: RankGroup
    ulysses: RankGroup
    ring: RankGroup

    @property
    def traffic(self) -> Traffic:
        """Traffic of this rank in all its groups."""
        return self.everyone.traffic

    @staticmethod
    def alone() -> Mesh:
        """Returns the mesh of a single rank."""
        one = RankGroup(0, 1, None, Traffic())
        return Mesh(Layout(), 0, one, one, one)


def join_mesh(layout: Layout, deadline: timedelta = DEADLINE) -> Mesh:
    """Creates the groups of this process; all ranks call it with the same layout.

    Raises:
        InputError: the layout does not match the number of ranks.
    """
    if layout.ranks == 1 and not dist.is_initialized():
        return Mesh.alone()
    rank, size = dist.get_rank(), dist.get_world_size()
    if layout.ranks != size:
        limit = f"{size}, the ranks that were started"
        raise InputError("ulysses x ring", layout.ranks, limit)
    traffic = Traffic()
    columns = [
        list(range(i * layout.ulysses, (i + 1) * layout.ulysses)) for i in range(layout.ring)
    ]
    rings = [list(range(i, size, layout.ulysses)) for i in range(layout.ulysses)]
    return Mesh(
        layout,
        rank,
        _group([list(range(size))], rank, traffic, deadline),
        _group(columns, rank, traffic, deadline),
        _group(rings, rank, traffic, deadline),
    )


def join_everyone(deadline: timedelta = DEADLINE) -> RankGroup:
    """Returns all ranks of ``torch.distributed`` as one group; without it, a group of one."""
    if not dist.is_initialized():
        return RankGroup(0, 1, None, Traffic())
    rank, size = dist.get_rank(), dist.get_world_size()
    return _group([list(range(size))], rank, Traffic(), deadline)


def _group(
    groups: Sequence[Sequence[int]], rank: int, traffic: Traffic, deadline: timedelta
) -> RankGroup:
    """Returns this rank's group of several disjoint groups; all ranks create all of them."""
    mine = RankGroup(0, 1, None, traffic)
    for members in groups:
        if len(members) == 1:
            continue
        handle = dist.new_group(list(members), timeout=deadline)
        if rank in members:
            mine = RankGroup(members.index(rank), len(members), handle, traffic)
    return mine
