"""Only a conditioning that is not kept is said to be missing; other errors stay what they are."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from flashtalk.serving.errors import Reason, ServiceError
from flashtalk.serving.lane import Cancellation, ComputeLane
from flashtalk.serving.worker import WorkerCard
from flashtalk.v1 import dit_worker_service_pb2 as pb
from services.dit_worker.conditionings import ConditioningMissing
from services.dit_worker.servicer import DitServicer


def denoised(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raises what a denoising call ends with whose work fails with ``error``."""

    def work(command: Any, cancellation: Cancellation) -> Any:
        raise error

    async def scenario() -> None:
        lane, card = ComputeLane(2), WorkerCard("dit_worker", ready=True)
        await lane.start()
        try:
            loading: Any = SimpleNamespace(stage=SimpleNamespace(run=work))
            servicer = DitServicer(loading, lane, card)
            monkeypatch.setattr(servicer, "_command", lambda request: SimpleNamespace(digest="a"))
            await servicer.Denoise(
                pb.DenoiseRequest(), SimpleNamespace(time_remaining=lambda: None)
            )
        finally:
            await lane.stop()

    asyncio.run(scenario())


def test_the_one_case_is_a_precondition(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServiceError, match="abcdef012345 is not cached on this worker") as missing:
        denoised(ConditioningMissing("abcdef0123456789"), monkeypatch)
    assert missing.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert missing.value.reason is Reason.CONDITIONING_MISSING


@pytest.mark.parametrize("error", [KeyError("a"), IndexError(), LookupError("digest")])
def test_other_errors_are_not_taken_for_it(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(type(error)):
        denoised(error, monkeypatch)
