"""The garbage collector of a service that has started."""

import gc
from collections.abc import Iterator

import pytest

from flashtalk.serving.collector import settle_collector


@pytest.fixture(autouse=True)
def left_as_found() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


class Ring:
    """Refers to itself: only the collector ends it."""

    ended = 0

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        Ring.ended += 1


def test_what_is_there_is_left_alone_and_garbage_goes() -> None:
    Ring.ended = 0
    Ring()
    settle_collector()
    assert Ring.ended == 1, "garbage of the start does not stay for good"
    assert gc.get_freeze_count() > 1_000
    Ring()
    gc.collect()
    assert Ring.ended == 2, "garbage of later is found as ever"


def test_the_young_are_looked_through_less_often_where_that_is_wanted() -> None:
    before = gc.get_threshold()
    settle_collector()
    assert gc.get_threshold() == before
    settle_collector(20_000)
    assert gc.get_threshold()[0] == 20_000
