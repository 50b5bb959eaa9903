"""A DiT pod of two ranks under a live stream: killed, stopped, drained."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import psutil

from flashtalk.engine import Pipeline
from services.local import LocalSuite
from tests.e2e.processes import (
    disturbed,
    expected_frames,
    face,
    nothing,
    patient_client,
    pixels,
    png,
    restart,
    run,
    speech,
    suite,
)
from tests.patience import patient, until
from tests.tolerances import assert_frames

PORTRAIT, VOICE = face(), speech(7.3)
POD = "dit_worker"


def limits() -> dict[str, str]:
    """Of the pod. A rank that was stopped has to be missed, so that limit runs out here; nothing
    hangs, and a rank that only waits for its turn on a busy machine must not be taken for it."""
    return {
        "FLASHTALK_DIT_WORKER_SILENCE_S": str(min(600.0, patient(4))),
        "FLASHTALK_DIT_WORKER_HANG_S": str(min(600.0, patient(100))),
    }


def ranks_of(running: LocalSuite) -> list[psutil.Process]:
    """The processes of a pod, by rank: torchrun starts one after the other."""
    launcher = psutil.Process(running.services[POD].process.pid)
    return sorted(launcher.children(), key=lambda p: (p.create_time(), p.pid))


async def hurt_and_restart(running: LocalSuite, rank: int, number: signal.Signals) -> None:
    """Does something to one rank, sees the pod go down, and starts it again on its port."""
    ranks = ranks_of(running)
    assert len(ranks) == 2
    ranks[rank].send_signal(number)
    await until(lambda: not any(alive(p) for p in ranks), 120)
    await running.services[POD].process.wait()
    await restart(running, POD)


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_pod_that_loses_a_rank_loses_no_frame(
    weights: Path, pipeline: Pipeline, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with (
            suite(weights, tmp_path, dit_ranks=2, settings=limits()) as running,
            patient_client(running) as client,
        ):
            whole = await disturbed(client, png(PORTRAIT), VOICE, 0, nothing)
            # Two ranks add the same products in another order than one.
            alone = expected_frames(pipeline, PORTRAIT, VOICE, seed=7)
            assert_frames(pixels(whole), pixels(alone))
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
                    assert re.search(rf"rank {rank} has been silent for \d", log.read_text())
            left = ranks_of(running)
        assert [p for p in left if alive(p)] == []

    run(scenario)
