"""The watch between ranks: who is dead, who holds the others up, and who merely waits."""

from __future__ import annotations

import json
import threading

import pytest

from services.pod.watch import BEAT_S, Limits, Progress, Watch
from tests.patience import patient, wait_until

LIMITS = Limits(silence_s=1.0, hang_s=1.5)


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
    """Watches of some ranks over one store, and what they said when they gave up.

    Their clock stands still but for ``pass_time``.
    """

    def __init__(self, size: int) -> None:
        self.store = Memory()
        self.now_s = 1_000.0
        self.progress = [Progress() for _ in range(size)]
        self.said: list[list[str]] = [[] for _ in range(size)]
        self.watches = [self._watch(rank, size) for rank in range(size)]
        self.there = set(range(size))
        for watch in self.watches:
            watch._beat()  # all are there before anyone looks
        self.pass_time(BEAT_S)

    def _watch(self, rank: int, size: int) -> Watch:
        def lose(reason: str) -> None:
            self.said[rank].append(reason)
            self.there.discard(rank)

        return Watch(
            self.store,
            rank,
            size,
            LIMITS,
            self.progress[rank],
            lose=lose,
            now_s=lambda: self.now_s,
        )

    def pass_time(self, seconds: float) -> None:
        """Each rank that is there beats as often as it does in so much time."""
        for _ in range(round(seconds / BEAT_S)):
            self.now_s += BEAT_S
            for rank in sorted(self.there):
                self.watches[rank].step()

    def begin(self) -> None:
        for progress in self.progress:
            progress.warm = progress.busy = True

    def freeze(self, rank: int) -> None:
        """As SIGSTOP does: no more beats, no farewell."""
        self.there.discard(rank)


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Ranks:
    # All of them have this process's number, which nobody should kill.
    monkeypatch.setattr("services.pod.watch._kill_here", lambda where: None)
    return Ranks(3)


def test_ranks_that_wait_for_work_are_left_alone(three: Ranks) -> None:
    three.pass_time(60)
    assert three.said == [[], [], []]


def test_a_silent_rank_is_named_by_all_others(three: Ranks) -> None:
    three.freeze(1)
    three.pass_time(LIMITS.silence_s)
    assert three.said == [[], [], []]
    three.pass_time(2 * BEAT_S)  # whose turn comes first sees the last beat at its next look
    for rank in (0, 2):
        assert three.said[rank] == ["no heartbeat from rank 1 for 1.2 s"]
    assert three.said[1] == []


def test_the_rank_that_has_come_least_far_is_named(three: Ranks) -> None:
    three.begin()
    three.progress[0].steps = three.progress[1].steps = 7
    three.progress[2].steps = 6
    three.pass_time(LIMITS.hang_s)
    assert three.said == [[], [], []]
    three.pass_time(3 * BEAT_S)
    for said in three.said:
        assert said == ["no progress for 1.8 s; slowest rank: 2"]


def test_progress_anywhere_is_progress(three: Ranks) -> None:
    """One rank computes for long, another one waits for it: neither is stuck."""
    three.begin()
    for _ in range(100):
        three.progress[1].steps += 1
        three.pass_time(LIMITS.hang_s)
    assert three.said == [[], [], []]


def test_nobody_stands_still_before_the_warm_up_is_over(three: Ranks) -> None:
    three.begin()
    for progress in three.progress:
        progress.warm = False
    three.pass_time(60)
    assert three.said == [[], [], []]


def test_a_rank_that_left_is_not_missed(three: Ranks) -> None:
    three.watches[2]._write(left=True)
    three.freeze(2)
    three.pass_time(60)
    assert three.said == [[], [], []]


def test_a_lost_store_ends_the_pod(three: Ranks) -> None:
    three.store.lost = True
    three.pass_time(BEAT_S)
    for said in three.said:
        assert said == ["lost the connection to the pod's store: ConnectionError"]


def test_threads_beat_until_their_rank_leaves_or_the_store_is_lost() -> None:
    """The real ones, by the real clock, with limits that a test does not reach."""
    store, said = Memory(), list[str]()
    lost = [threading.Event() for _ in range(2)]

    def beats(rank: int) -> int:
        return int(json.loads(store.values[f"pod/{rank}"])["beat"])

    def watch(rank: int) -> Watch:
        def lose(reason: str) -> None:
            said.append(reason)
            lost[rank].set()

        limits = Limits(silence_s=patient(600), hang_s=patient(600))
        return Watch(store, rank, 2, limits, Progress(), lose=lose)

    leaving, staying = watch(0), watch(1)
    store.set("pod/1", json.dumps({"beat": 0, "steps": 0, "busy": False, "left": False}))
    leaving.start()
    staying.start()
    wait_until(lambda: min(beats(0), beats(1)) >= 3)
    leaving.leave()
    assert json.loads(store.values["pod/0"])["left"]
    after = beats(0)
    seen = beats(1)
    wait_until(lambda: beats(1) >= seen + 2)
    assert (beats(0), said) == (after, [])
    store.lost = True
    assert lost[1].wait(patient(60))
    staying._thread.join(patient(60))
    assert not staying._thread.is_alive()
    assert said == ["lost the connection to the pod's store: ConnectionError"]
