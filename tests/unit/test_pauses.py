"""Pauses stay within their bounds, grow, start again, and differ from client to client."""

from __future__ import annotations

from itertools import accumulate

import pytest

from flashtalk.pauses import Pauses
from tests.fakes.fullest_window import most_within
from tests.fakes.seeded_chance import seeded_chance

FIRST_S, LONGEST_S = 0.1, 1.0
UPPER_S = (0.3, 0.6, 1.0, 1.0, 1.0)
MANY = 2_000


def drawn(clients: int, failures: int) -> list[list[float]]:
    """Seconds [clients][failures] of clients that failed at the same moment."""
    pauses = [Pauses(FIRST_S, LONGEST_S) for _ in range(clients)]
    return [[one.next_s() for _ in range(failures)] for one in pauses]


def test_bounds_double_up_to_the_longest_and_are_used_in_full() -> None:
    with seeded_chance():
        pauses_s = drawn(MANY, len(UPPER_S))
    for column, upper_s in zip(zip(*pauses_s, strict=True), UPPER_S, strict=True):
        slack_s = 0.02 * (upper_s - FIRST_S)
        assert FIRST_S <= min(column) < FIRST_S + slack_s
        assert upper_s - slack_s < max(column) <= upper_s


def test_the_bounds_hold_after_any_number_of_failures() -> None:
    with seeded_chance():
        pauses = Pauses(FIRST_S, LONGEST_S)
        assert all(FIRST_S <= pauses.next_s() <= LONGEST_S for _ in range(3_000))


def test_after_a_restart_the_next_failure_is_the_first_one() -> None:
    pauses = Pauses(FIRST_S, LONGEST_S)
    with seeded_chance():
        fresh_s = [pauses.next_s() for _ in range(4)]
    pauses.restart()
    with seeded_chance():
        assert [pauses.next_s() for _ in range(4)] == fresh_s


def test_a_longest_pause_below_the_first_one_is_the_first_one() -> None:
    assert Pauses(0.5, 0.1).next_s() == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_clients_that_fail_together_do_not_come_back_together(seed: int) -> None:
    """Of 200 no more than a fifth within any 20 ms, in each of their first three attempts."""
    with seeded_chance(seed):
        back_s = [list(accumulate(pauses_s)) for pauses_s in drawn(200, 3)]
    for column in zip(*back_s, strict=True):
        assert most_within(column, 0.02) <= 200 / 5
