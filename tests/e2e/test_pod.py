"""Pods of two ranks under a live stream: killed, stopped, drained."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

import psutil
import pytest

from flashtalk.engine import Pipeline
from services.local import LocalSuite
from tests.charts.rendered import of_kind, rendered
from tests.e2e.processes import (
    disturbed,
    environment,
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
from tests.fakes.fork_server import begin, completed
from tests.fakes.free_ports import free_ports
from tests.fakes.hanging_rank import VARIABLE
from tests.patience import patient, until, wait_until
from tests.tolerances import assert_frames

PORTRAIT, VOICE = face(), speech(7.3)
Harm = tuple[int, signal.Signals | None]
"""What happens to which rank: a signal, or it stands still."""


HANGING = 1
"""The rank that can be made to stand still."""


def limits(hang: Path) -> dict[str, str]:
    """Of a pod, whose rank stands still while ``hang`` is there. Both limits run out here, so they
    are short, but not as short as those that a pod has by itself: a rank that waits for its turn
    on a busy machine must not be missed."""
    given = {"SILENCE_S": str(min(600.0, patient(4))), "HANG_S": str(min(600.0, patient(6)))}
    roles = ("DIT_WORKER", "VAE_DECODER")
    settings = {f"FLASHTALK_{role}_{name}": at for role in roles for name, at in given.items()}
    return settings | {VARIABLE: f"{HANGING}:{hang}"}


def ranks_of(running: LocalSuite, pod: str) -> list[psutil.Process]:
    """The processes of a pod, by rank: torchrun starts one after the other."""
    launcher = psutil.Process(running.services[pod].process.pid)
    return sorted(launcher.children(), key=lambda p: (p.create_time(), p.pid))


async def hurt_and_restart(running: LocalSuite, pod: str, harm: Harm, hang: Path) -> None:
    """Does something to one rank, sees the pod go down, and starts it again on its port."""
    ranks = ranks_of(running, pod)
    rank, number = harm
    assert len(ranks) == 2
    if number is None:
        await asyncio.to_thread(hang.touch)
    else:
        ranks[rank].send_signal(number)
    await until(lambda: not any(alive(p) for p in ranks), 120)
    await asyncio.to_thread(hang.unlink, missing_ok=True)
    await running.services[pod].process.wait()
    await restart(running, pod)


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("pod", "harms"),
    [
        (
            "dit_worker",
            [(1, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGSTOP), (HANGING, None)],
        ),
        ("vae_decoder", [(1, signal.SIGKILL), (0, signal.SIGKILL), (HANGING, None)]),
    ],
)
def test_a_pod_that_loses_a_rank_loses_no_frame(
    pod: str, harms: list[Harm], weights: Path, pipeline: Pipeline, tmp_path: Path
) -> None:
    hang = tmp_path / "hang"

    async def scenario() -> None:
        async with (
            suite(weights, tmp_path, ranks={pod: 2}, settings=limits(hang)) as running,
            patient_client(running) as client,
        ):
            whole = await disturbed(client, png(PORTRAIT), VOICE, 0, nothing)
            # Two ranks add the same products in another order than one.
            alone = expected_frames(pipeline, PORTRAIT, VOICE, seed=7)
            assert_frames(pixels(whole), pixels(alone))
            for harm in harms:
                log = running.services[pod].log
                got = await disturbed(
                    client,
                    png(PORTRAIT),
                    VOICE,
                    40,
                    lambda harm=harm: hurt_and_restart(running, pod, harm, hang),  # type: ignore[misc]
                )
                assert got == whole, harm
                said = {
                    signal.SIGSTOP: rf"no heartbeat from rank {harm[0]} for \d",
                    None: rf"no progress for \d.*; slowest rank: {harm[0]}\"",
                }
                if harm[1] in said:
                    assert re.search(said[harm[1]], log.read_text())
            left = ranks_of(running, pod)
        assert [p for p in left if alive(p)] == []

    run(scenario)


def test_a_group_over_nodes_starts_as_the_chart_starts_it(weights: Path, tmp_path: Path) -> None:
    """Two launchers, each with the command of its pod; both on this machine."""
    (port,) = free_ports(1)
    (group,) = of_kind(rendered("multi-node"), "LeaderWorkerSet")
    launched = []
    for number, template in enumerate(("leaderTemplate", "workerTemplate")):
        pod = group["spec"]["leaderWorkerTemplate"][template]["spec"]
        given = {
            "LWS_GROUP_SIZE": "2",
            "LWS_WORKER_INDEX": str(number),
            "LWS_LEADER_ADDRESS": "127.0.0.1",
        }
        words = [
            re.sub(r"\$\((\w+)\)", lambda found: given[found[1]], word)  # noqa: B023
            for word in pod["containers"][0]["command"]
        ]
        assert words[:3] == ["python", "-m", "torch.distributed.run"]
        changed = {
            "--nproc-per-node=8": "--nproc-per-node=1",
            "--master-port=29500": f"--master-port={port}",
        }
        assert changed.keys() < set(words)
        settings = {
            "PORT": "0",
            "METRICS_PORT": "0",
            "HOST": "127.0.0.1",
            "PORT_FILE": str(tmp_path / f"port{number}"),
        }
        own = {f"FLASHTALK_DIT_WORKER_{name}": value for name, value in settings.items()}
        process = begin(
            "tests.fakes.forked_ranks",
            [changed.get(word, word) for word in words[3:]],
            tmp_path / str(number),
            environment(weights, **own),
        )
        launched.append(process)
    leader, follower = (tmp_path / str(number) for number in range(2))
    try:
        wait_until(lambda: '"message": "ready"' in read(leader), 240, "ready")
        target = (tmp_path / "port0").read_text().strip()
        words = ["--port", target.rpartition(":")[2], "--timeout-s", "60"]
        done = completed("services.health", words, tmp_path, environment(weights), patient(120))
        assert done.returncode == 0, done.stderr
        for process in launched:
            psutil.Process(process.pid).send_signal(signal.SIGTERM)
        for process in launched:
            process.join(patient(120))
        assert all(process.exitcode is not None for process in launched)
    finally:
        for process in launched:
            process.kill()
    assert '"message": "stopped"' in read(leader)
    assert "ready" not in read(follower)
    assert not (tmp_path / "port1").exists()
    assert "the pod has failed" not in read(leader) + read(follower)


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
