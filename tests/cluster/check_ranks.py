"""A DiT worker of two ranks on a real cluster: one of them is killed under a live stream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.cluster.kube import Cluster, disturbed, undisturbed

# Runs inside the pod: ends the process that torchrun started as that rank.
KILL = """
import os, pathlib, signal, sys
for folder in pathlib.Path("/proc").iterdir():
    if folder.name.isdecimal() and int(folder.name) != os.getpid():
        try:
            given = (folder / "environ").read_bytes().split(b"\\0")
        except OSError:
            continue
        if f"RANK={sys.argv[1]}".encode() in given:
            os.kill(int(folder.name), signal.SIGKILL)
            sys.exit(0)
sys.exit("no such rank")
"""
WORKER = "ft-flashtalk-dit-worker"


@pytest.fixture(scope="module")
def gateway(cluster: Cluster) -> Iterator[str]:
    cluster.install("--set=ditWorker.ranks=2")
    yield cluster.gateway()
    cluster.run("helm", "uninstall", "ft", "--wait")


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("rank", [1, 0])
def test_the_stream_goes_on_when_a_rank_is_killed(
    cluster: Cluster, gateway: str, rank: int
) -> None:
    (pod,) = cluster.pods("dit-worker")
    before = restarts(cluster, pod)

    async def kill() -> None:
        await cluster.change("kubectl", "exec", pod, "--", "python", "-c", KILL, str(rank))
        await cluster.change("kubectl", "rollout", "status", f"deployment/{WORKER}")

    talking = asyncio.run(disturbed(gateway, [kill]))
    expected = asyncio.run(undisturbed(gateway, talking.spoken))
    assert talking.frames == expected
    assert len(expected) == 28 * talking.spoken
    assert restarts(cluster, pod) == before + 1
    lost = cluster.run("kubectl", "logs", pod, "--previous")
    assert "the pod has failed" in lost or f"exitcode: -9) local_rank: {rank}" in lost


def restarts(cluster: Cluster, pod: str) -> int:
    """Of its container."""
    (status,) = cluster.get("pod", pod)["status"]["containerStatuses"]
    return int(status["restartCount"])
