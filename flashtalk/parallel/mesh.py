"""The ranks of one model as groups, and what they send each other.

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
"""Of one exchange. A rank that does not answer is dead or stuck, and its group with it."""


@dataclass
class Traffic:
    """Bytes that this rank has sent, by what for; compared with ``traffic.py`` in tests.

    ``exchanges`` counts what was begun, alike on all ranks, so that it shows who is behind.
    """

    sent_bytes: Counter[str] = field(default_factory=Counter)
    exchanges: int = 0

    def begin(self) -> None:
        """An exchange that all ranks of a group come to, whatever each of them sends."""
        self.exchanges += 1

    def note(self, kind: str, count: int, like: Tensor) -> None:
        """Counts ``count`` elements of the type of ``like``."""
        self.sent_bytes[kind] += count * like.element_size()


@dataclass(frozen=True)
class Group:
    """Ranks that exchange tensors; a group of one exchanges nothing.

    Args:
        index: this rank's place in it.
        size: P.
        handle: None for a group of one.
        traffic: where its bytes are counted.
    """

    index: int
    size: int
    handle: dist.ProcessGroup | None
    traffic: Traffic

    def all_to_all(self, parts: Sequence[Tensor], counts: Sequence[int], kind: str) -> list[Tensor]:
        """Sends ``parts[j]`` to rank j; gives what each rank sent here.

        Args:
            parts: P tensors of one type, any sizes.
            counts: elements that come from every rank; [P] flat tensors are returned.
            kind: for the traffic.
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
        """Every rank's tensor, of shapes that all ranks know."""
        if self.handle is None:
            return [mine]
        counts = [torch.Size(shape).numel() for shape in shapes]
        # Collectives want equal sizes; the shorter ones travel with some padding at their end.
        row = mine.new_zeros(max(counts))
        row[: mine.numel()] = mine.reshape(-1)
        rows = list(row.new_empty(self.size, len(row)).unbind())
        self.traffic.begin()
        self.traffic.note(kind, (self.size - 1) * len(row), row)
        dist.all_gather(rows, row, group=self.handle)
        parts = zip(rows, counts, shapes, strict=True)
        return [part[:count].view(*shape) for part, count, shape in parts]

    def pass_on(self, mine: Tensor, incoming: Tensor, kind: str) -> list[dist.Work]:
        """Starts to send to the next rank of the ring and to receive from the one before.

        Returns:
            What to wait for (``finish``) before ``incoming`` is read or ``mine`` is changed.
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
        """Sends tensors to ranks and waits until the wanted ones have come.

        Args:
            sends: at most one per rank, contiguous.
            wants: at most one per rank, contiguous room for what that rank sends here.
            kind: for the traffic.
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
    """Waits for what ``Group.pass_on`` started."""
    for work in works:
        work.wait()


@dataclass(frozen=True)
class Mesh:
    """The ranks of one model.

    Args:
        layout: their degrees.
        rank: this one.
        everyone, ulysses, ring: the groups that it is in.
    """

    layout: Layout
    rank: int
    everyone: Group
    ulysses: Group
    ring: Group

    @property
    def traffic(self) -> Traffic:
        """What this rank has sent in all its groups."""
        return self.everyone.traffic

    @staticmethod
    def alone() -> Mesh:
        """One rank."""
        one = Group(0, 1, None, Traffic())
        return Mesh(Layout(), 0, one, one, one)


def join_mesh(layout: Layout, deadline: timedelta = DEADLINE) -> Mesh:
    """The groups of this process; every rank of ``torch.distributed`` calls it with one layout.

    Raises:
        InputError: the layout is for another number of ranks than there are.
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


def join_everyone(deadline: timedelta = DEADLINE) -> Group:
    """All ranks of ``torch.distributed`` as one group; a process by itself is a group of one."""
    if not dist.is_initialized():
        return Group(0, 1, None, Traffic())
    rank, size = dist.get_rank(), dist.get_world_size()
    return _group([list(range(size))], rank, Traffic(), deadline)


def _group(
    groups: Sequence[Sequence[int]], rank: int, traffic: Traffic, deadline: timedelta
) -> Group:
    """This rank's of some groups that have no rank in common; all ranks make them all."""
    mine = Group(0, 1, None, traffic)
    for members in groups:
        if len(members) == 1:
            continue
        handle = dist.new_group(list(members), timeout=deadline)
        if rank in members:
            mine = Group(members.index(rank), len(members), handle, traffic)
    return mine
