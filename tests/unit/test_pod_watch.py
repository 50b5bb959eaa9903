"""The watch between ranks: who is dead, who holds the others up, and who merely waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from services.pod.watch import Limits, Progress, Watch

LIMITS = Limits(silence_s=1.0, hang_s=1.5)
SOON_S = 6.0


class Memory:
    """A store in this process."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.lost = False

    def set(self, key: str, value: str) -> None:
        if self.lost:
            raise ConnectionError
        self.values[key] = value.encode()

    def multi_get(self, keys: list[str]) -> list[bytes]:
        return [self.values[key] for key in keys]


class Ranks:
    """Watches of some ranks over one store, and what they said when they gave up."""

    def __init__(self, size: int) -> None:
        self.store = Memory()
        self.progress = [Progress() for _ in range(size)]
        self.said: list[list[str]] = [[] for _ in range(size)]
        self.lost = [threading.Event() for _ in range(size)]
        self.watches = [self._watch(rank, size) for rank in range(size)]
        for watch in self.watches:
            watch._beat()  # all are there before anyone looks
        for watch in self.watches:
            watch.start()

    def _watch(self, rank: int, size: int) -> Watch:
        def lose(reason: str) -> None:
            self.said[rank].append(reason)
            self.lost[rank].set()
            self.watches[rank]._ended.set()

        return Watch(self.store, rank, size, LIMITS, self.progress[rank], lose=lose)

    def begin(self) -> None:
        for progress in self.progress:
            progress.warm = progress.busy = True

    def freeze(self, rank: int) -> None:
        """As SIGSTOP does: no more beats, no farewell."""
        self.watches[rank]._ended.set()

    def end(self) -> None:
        for watch in self.watches:
            watch._ended.set()


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ranks]:
    # All of them have this process's number, which nobody should kill.
    monkeypatch.setattr("services.pod.watch._kill_here", lambda where: None)
    ranks = Ranks(3)
    yield ranks
    ranks.end()


def test_ranks_that_wait_for_work_are_left_alone(three: Ranks) -> None:
    time.sleep(2.0)
    assert three.said == [[], [], []]


def test_a_silent_rank_is_named_by_all_others(three: Ranks) -> None:
    three.freeze(1)
    for rank in (0, 2):
        assert three.lost[rank].wait(SOON_S)
        assert three.said[rank][0].startswith("rank 1 has been silent for 1.")
    assert three.said[1] == []


def test_the_rank_that_has_come_least_far_is_named(three: Ranks) -> None:
    three.begin()
    three.progress[0].steps = three.progress[1].steps = 7
    three.progress[2].steps = 6
    assert three.lost[0].wait(SOON_S)
    assert "rank 2 has come least far" in three.said[0][0]


def test_progress_anywhere_is_progress(three: Ranks) -> None:
    """One rank computes for long, another one waits for it: neither is stuck."""
    three.begin()
    for _ in range(12):
        three.progress[1].steps += 1
        time.sleep(0.25)
    assert three.said == [[], [], []]


def test_nobody_stands_still_before_the_warm_up_is_over(three: Ranks) -> None:
    three.begin()
    for progress in three.progress:
        progress.warm = False
    time.sleep(2.5)
    assert three.said == [[], [], []]


def test_a_rank_that_left_is_not_missed(three: Ranks) -> None:
    three.watches[2].leave()
    time.sleep(2.0)
    assert three.said == [[], [], []]


def test_a_lost_store_ends_the_pod(three: Ranks) -> None:
    three.store.lost = True
    assert all(lost.wait(SOON_S) for lost in three.lost)
    assert three.said[0] == ["the store of the pod is lost: ConnectionError"]
