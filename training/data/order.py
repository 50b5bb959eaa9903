"""The samples and the bucket of a step's global batch: a function of seed and step.

Within a bucket, every sample comes once before any is repeated, and buckets get steps in proportion
to their samples. If a bucket's samples do not fill their last batch, that batch continues with the
bucket's next round. Nothing is padded or dropped.

Legend: B global batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from flashtalk.arrays import IntArray
from flashtalk.errors import InputError

BucketT = TypeVar("BucketT")

_STEPS, _SAMPLES = 0, 1  # two streams of random numbers from one seed


@dataclass(frozen=True)
class BucketRows(Generic[BucketT]):
    """One global batch: samples ``row_B``, int64, of one bucket."""

    bucket: BucketT
    row_B: IntArray


@dataclass
class _Round:
    """The order of one bucket's samples in one round, from which later rounds follow."""

    number: int
    order: IntArray


@dataclass
class BucketOrder(Generic[BucketT]):
    """Global batches by step.

    The state between calls is only a cache: the same step gives the same batch in any process,
    after any other step.

    Args:
        counts: samples of each bucket; empty buckets are skipped.
        batch: B; a bucket with fewer samples repeats some of them within a batch.
        seed: of all choices.

    Raises:
        InputError: no samples, or no batch.
    """

    counts: Mapping[BucketT, int]
    batch: int
    seed: int = 0
    _rounds: dict[int, _Round] = field(default_factory=dict, init=False, repr=False)
    _turns: tuple[int, IntArray] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._buckets = [bucket for bucket, count in self.counts.items() if count]
        self._counts = [int(self.counts[bucket]) for bucket in self._buckets]
        if not self._buckets:
            raise InputError("samples", 0, "at least 1")
        if self.batch < 1:
            raise InputError("batch", self.batch, "at least 1")

    def at(self, step: int) -> BucketRows[BucketT]:
        """The global batch of a step, from 0.

        Raises:
            InputError: a negative step.
        """
        if step < 0:
            raise InputError("step", step, "at least 0")
        cycle = self._cycle_of(step)
        turns = self._turns_of(cycle)
        place = step - self._steps_before(cycle)
        which = int(turns[place])
        earlier = self._visits(which, cycle) + int((turns[:place] == which).sum())
        return BucketRows(self._buckets[which], self._samples(which, earlier))

    def _visits(self, which: int, cycle: int) -> int:
        """Returns a bucket's batches in all cycles before ``cycle``; a cycle covers each sample.

        Rounded down: the remainder is part of the next cycle.
        """
        return cycle * self._counts[which] // self.batch

    def _steps_before(self, cycle: int) -> int:
        return sum(self._visits(which, cycle) for which in range(len(self._counts)))

    def _cycle_of(self, step: int) -> int:
        low, high = 0, 1
        while self._steps_before(high) <= step:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._steps_before(middle) <= step else (low, middle)
        return low

    def _turns_of(self, cycle: int) -> IntArray:
        """The bucket of each step of a cycle, in random order."""
        if self._turns is None or self._turns[0] != cycle:
            visits = [
                self._visits(which, cycle + 1) - self._visits(which, cycle)
                for which in range(len(self._counts))
            ]
            turns = np.repeat(np.arange(len(visits)), visits)
            np.random.default_rng([self.seed, _STEPS, cycle]).shuffle(turns)
            self._turns = (cycle, turns.astype(np.int64))
        return self._turns[1]

    def _samples(self, which: int, visit: int) -> IntArray:
        """The batch of a bucket's visit: the next B of its rounds, laid end to end."""
        count = self._counts[which]
        first = visit * self.batch
        end = first + self.batch
        parts: list[IntArray] = []
        while first < end:
            number, place = divmod(first, count)
            taken = self._round(which, number)[place : place + end - first]
            parts.append(taken)
            first += len(taken)
        return np.concatenate(parts)

    def _round(self, which: int, number: int) -> IntArray:
        """The bucket's samples in the order of one round."""
        known = self._rounds.get(which)
        if known is None or known.number > number:
            known = _Round(0, self._shuffled(which, 0))
        while known.number < number:
            known = self._next_round(which, known)
        self._rounds[which] = known
        return known.order

    def _next_round(self, which: int, known: _Round) -> _Round:
        """Returns the next round; samples of the last shared batch are not repeated at once."""
        order = self._shuffled(which, known.number + 1)
        count = len(order)
        carried = ((known.number + 1) * count) % self.batch
        if carried and count >= self.batch:
            fresh = ~np.isin(order, known.order[count - carried :])
            head = np.flatnonzero(fresh)[: self.batch - carried]
            order = np.concatenate([order[head], np.delete(order, head)])
        return _Round(known.number + 1, order)

    def _shuffled(self, which: int, number: int) -> IntArray:
        rng = np.random.default_rng([self.seed, _SAMPLES, which, number])
        return rng.permutation(self._counts[which]).astype(np.int64)
