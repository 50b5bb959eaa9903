"""A Redis of the tests, and both forms of the store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.real_redis import RedisServer, redis_server


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server
