"""Work of a past epoch is refused, for as many sessions as are remembered."""

from __future__ import annotations

import grpc
import pytest

from flashtalk.serving.epochs import EpochGuard
from flashtalk.serving.errors import Reason, ServiceError
from flashtalk.v1 import worker_pb2


def key(session: str, epoch: int) -> worker_pb2.ChunkKey:
    return worker_pb2.ChunkKey(session_id=session, epoch=epoch)


def test_a_past_epoch_is_refused_and_the_present_one_is_not() -> None:
    guard = EpochGuard()
    for epoch in (0, 0, 2, 2):
        guard.check(key("a", epoch))
    guard.check(key("b", 1))
    with pytest.raises(ServiceError, match="epoch 1 is outdated") as stale:
        guard.check(key("a", 1))
    assert stale.value.code is grpc.StatusCode.ABORTED
    assert stale.value.reason is Reason.STALE_EPOCH
    guard.check(key("a", 2))


def test_sessions_that_are_not_heard_of_are_forgotten() -> None:
    guard = EpochGuard()
    guard.check(key("kept", 5))
    guard.check(key("forgotten", 5))
    for number in range(4_095):
        guard.check(key("kept", 5))
        guard.check(key(str(number), 1))
    assert len(guard) == 4_096
    guard.check(key("forgotten", 0))
    with pytest.raises(ServiceError):
        guard.check(key("kept", 0))
