"""Ranks that the tests of this folder share."""

from collections.abc import Iterator

import pytest

from tests.fakes.rank_pool import RankPool


@pytest.fixture(scope="session")
def pools() -> Iterator[dict[int, RankPool]]:
    """Two, three and four gloo ranks."""
    started: dict[int, RankPool] = {}
    try:
        for size in (2, 3, 4):
            started[size] = RankPool(size)
        yield started
    finally:
        for pool in started.values():
            pool.close()
