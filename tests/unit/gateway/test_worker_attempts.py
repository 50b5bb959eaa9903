"""When a chunk's failed call is made again, and until when; in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from flashtalk.serving.errors import Reason, ServiceError
from flashtalk.v1 import audio_encoder_service_pb2 as audio_pb2
from flashtalk.v1 import vae_decoder_service_pb2 as vae_pb2
from flashtalk.v1 import worker_pb2
from services.gateway.chunk_times import ChunkTimes
from services.gateway.workers.making import ChunkMaker
from tests.fakes.virtual_time import run_virtual

TIMEOUT_S = 20.0
UPPER_S = (0.15, 0.3, 0.6, 1.0, 1.0)


class FailingWorkers:
    """A pool with one worker, whose first ``failures`` calls fail at once."""

    def __init__(self, failures: int) -> None:
        self._failures = failures
        self.asked_s: list[float] = []
        self.suspected = 0
        self.worker = SimpleNamespace(encode=self._encode, decode=self._decode)

    async def choose(self, role: Any, timeout_s: float, weights: str) -> Any:
        assert 0 < timeout_s <= TIMEOUT_S
        return self.worker

    def suspect(self, worker: Any) -> None:
        self.suspected += 1

    def _ask(self) -> None:
        self.asked_s.append(asyncio.get_running_loop().time())
        if len(self.asked_s) <= self._failures:
            none = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, none, none, details="away")

    async def _encode(self, request: bytes, **_: Any) -> audio_pb2.EncodeResponse:
        self._ask()
        return audio_pb2.EncodeResponse()

    def _decode(self, request: bytes, **_: Any) -> Any:
        workers = self

        class Call:
            async def __aiter__(self) -> AsyncIterator[vae_pb2.DecodeResponse]:
                workers._ask()
                yield vae_pb2.DecodeResponse(decoded={"frames": [{"index": 0}]})

            def cancel(self) -> None: ...

        return Call()

    def pauses_s(self) -> list[float]:
        return [later_s - s for s, later_s in itertools.pairwise(self.asked_s)]


def maker(workers: FailingWorkers) -> ChunkMaker:
    pool: Any = workers
    limits: Any = SimpleNamespace(chunk_timeout_s=TIMEOUT_S, call_timeout_s=10.0)
    return ChunkMaker(pool, limits)


async def features(workers: FailingWorkers) -> ChunkTimes:
    times = ChunkTimes()
    await maker(workers).features(worker_pb2.ChunkKey(), [np.zeros(640, np.float32)], times)
    return times


async def first_frame(workers: FailingWorkers) -> ChunkTimes:
    times, latents = ChunkTimes(), np.zeros((1, 16, 9, 2, 2), np.float32)
    frames = maker(workers).frames(vae_pb2.DecodeRequest(), latents, times)
    await anext(frames)
    await frames.aclose()
    return times


@pytest.mark.parametrize("call", [features, first_frame])
def test_pauses_grow_within_their_bounds(call: Any) -> None:
    workers = FailingWorkers(len(UPPER_S))
    times = run_virtual(lambda: call(workers))
    assert times.retries == workers.suspected == len(UPPER_S)
    for pause_s, upper_s in zip(workers.pauses_s(), UPPER_S, strict=True):
        assert 0.05 <= pause_s <= upper_s


@pytest.mark.parametrize("call", [features, first_frame])
def test_the_chunks_time_ends_the_attempts(call: Any) -> None:
    workers = FailingWorkers(10_000)
    with pytest.raises(ServiceError) as caught:
        run_virtual(lambda: call(workers))
    assert caught.value.reason is Reason.NO_WORKER
    assert caught.value.retry_after_s == 1.0
    assert TIMEOUT_S - 1.0 <= workers.asked_s[-1] - workers.asked_s[0] <= TIMEOUT_S
