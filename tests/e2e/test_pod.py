"""A DiT pod of two ranks under a live stream: killed, stopped, drained."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from flashtalk.client import FlashTalkClient
from flashtalk.engine import Pipeline
from services.local import LocalSuite
from tests.e2e.processes import (
    disturbed,
    expected_frames,
    face,
    png,
    run,
    speech,
    suite,
    targets,
)

PORTRAIT, VOICE = face(), speech(7.3)
POD = "dit_worker"
DOWN_S = 5.0
"""Until a pod that lost a rank answers nobody any more."""


def ranks_of(running: LocalSuite) -> list[psutil.Process]:
    """The processes of a pod, by rank."""
    launcher = psutil.Process(running.services[POD].process.pid)
    found = [p for p in launcher.children(recursive=True) if "RANK" in p.environ()]
    return sorted(found, key=lambda p: int(p.environ()["RANK"]))


async def hurt_and_restart(running: LocalSuite, rank: int, number: signal.Signals) -> None:
    """Does something to one rank, sees the pod go down, and starts it again on its port."""
    service = running.services[POD]
    ranks = ranks_of(running)
    assert len(ranks) == 2
    hurt_s = time.monotonic()
    ranks[rank].send_signal(number)
    while any(alive(p) for p in ranks):
        assert time.monotonic() - hurt_s < DOWN_S, [p.status() for p in ranks]
        await asyncio.sleep(0.05)
    async with asyncio.timeout(35.0):
        await service.process.wait()
    await running.start(POD, POD, int(service.target.rpartition(":")[2]), {})


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def assert_same(got: Sequence[bytes], expected: Sequence[bytes]) -> None:
    """Equal but for bytes that were rounded the other way (docs/parallelism.md)."""
    assert len(got) == len(expected)
    ours, theirs = (np.frombuffer(b"".join(v), np.uint8).astype(np.int16) for v in (got, expected))
    assert np.abs(ours - theirs).max() <= 1
    assert (ours != theirs).mean() < 2e-4


def test_a_pod_that_loses_a_rank_loses_no_frame(
    weights: Path, pipeline: Pipeline, tmp_path: Path
) -> None:
    async def nothing() -> None:
        return

    async def scenario() -> None:
        async with (
            suite(weights, tmp_path, dit_ranks=2) as running,
            FlashTalkClient(targets(running)) as client,
        ):
            whole = await disturbed(client, png(PORTRAIT), VOICE, 0, nothing)
            assert_same(whole, expected_frames(pipeline, PORTRAIT, VOICE, seed=7))
            for rank, number in (
                (1, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGSTOP),
            ):  # fmt: skip
                log = running.services[POD].log
                got = await disturbed(
                    client, png(PORTRAIT), VOICE, 40,
                    lambda rank=rank, number=number: hurt_and_restart(running, rank, number),  # type: ignore[misc]
                )  # fmt: skip
                assert got == whole, (rank, number)
                if number == signal.SIGSTOP:
                    assert f"rank {rank} has been silent for 3." in log.read_text()
            left = ranks_of(running)
        assert [p for p in left if alive(p)] == []

    run(scenario)
