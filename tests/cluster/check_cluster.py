"""The chart on a real cluster: installed, tested, disturbed under a live stream, removed.

Not part of ``make test``: ``make test-cluster`` takes the cluster of KUBECONFIG, or starts one with
the scripts of CLUSTER_KIT (up.sh, down.sh), whose node has to be this machine. Services have to be
reachable by their cluster addresses from here. CLUSTER_VALUES are more words for helm.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.kube import CHART, Cluster, Talk, deployments, disturbed, talk, undisturbed
from tests.patience import patient, wait_until

TINY = f"--values={CHART}/profiles/tiny.yaml"
Change = Callable[[], Awaitable[Any]]


def wanted(name: str) -> str:
    return os.environ.get(name, "")  # noqa: TID251 - what the Makefile hands on


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Of KUBECONFIG, or a fresh one."""
    kit, config = wanted("CLUSTER_KIT"), wanted("KUBECONFIG")
    if not kit and not config:
        pytest.skip("no cluster: set KUBECONFIG, or CLUSTER_KIT to scripts that start one")
    values = (TINY, *shlex.split(wanted("CLUSTER_VALUES")))
    if config:
        yield Cluster(Path(config), "default", values)
        return
    started = subprocess.run([f"{kit}/up.sh"], capture_output=True, text=True, check=False)
    try:
        assert started.returncode == 0, started.stderr
        words = dict(word.split("=", 1) for word in started.stdout.split() if "=" in word)
        yield Cluster(Path(words["KUBECONFIG"]), "default", values)
    finally:
        subprocess.run([f"{kit}/down.sh"], check=True, capture_output=True)


@pytest.fixture(scope="module")
def gateway(cluster: Cluster) -> Iterator[str]:
    """The address of an installed release, from nothing."""
    before = everything(cluster)
    begun_s = time.monotonic()
    cluster.install()
    ready_s = time.monotonic() - begun_s
    address = cluster.gateway()
    asyncio.run(undisturbed(address, 1))
    print(f"\nready after {ready_s:.0f} s, first video after {time.monotonic() - begun_s:.0f} s")
    yield address
    cluster.run("helm", "uninstall", "ft", "--wait")
    wait_until(lambda: everything(cluster) == before, 120, "what the release has left")


def everything(cluster: Cluster) -> set[str]:
    """Names of all things of the kinds that a release makes."""
    kinds = ("deployments,statefulsets,pods,services,configmaps,secrets,serviceaccounts,"
             "poddisruptionbudgets,networkpolicies,persistentvolumeclaims")  # fmt: skip
    items = cluster.get(kinds)["items"]
    names = {f"{i['kind']}/{i['metadata']['name']}" for i in items}
    return {name for name in names if "flashtalk" in name or name.startswith("Secret/sh.helm")}


def frames_of(gateway: str, happens: list[Change]) -> Talk:
    """Of a disturbed stream, which must be those of an undisturbed one."""
    talking = asyncio.run(disturbed(gateway, happens))
    expected = asyncio.run(undisturbed(gateway, talking.spoken))
    assert len(talking.frames) == 28 * talking.spoken == len(expected)
    assert talking.frames == expected
    return talking


@pytest.mark.timeout(1_800)
def test_helm_test_streams(cluster: Cluster, gateway: str) -> None:
    said = cluster.run("helm", "test", "ft", "--logs", "--timeout=5m")
    assert "stream: frames=" in said
    print(said)


@pytest.mark.timeout(1_800)
def test_every_deployment_restarts_under_a_stream(cluster: Cluster, gateway: str) -> None:
    def restart(name: str) -> Change:
        async def change() -> None:
            await cluster.change("kubectl", "rollout", "restart", f"deployment/{name}")
            await cluster.change("kubectl", "rollout", "status", f"deployment/{name}")

        return change

    frames_of(gateway, [restart(name) for name in deployments()])


@pytest.mark.timeout(1_800)
def test_a_pod_of_each_kind_is_deleted_under_a_stream(cluster: Cluster, gateway: str) -> None:
    def delete(name: str) -> Change:
        async def change() -> None:
            kind = name.removeprefix("ft-flashtalk-")
            label = f"--selector=app.kubernetes.io/component={kind}"
            await cluster.change("kubectl", "delete", "pod", label, "--grace-period=0", "--force")
            await cluster.change("kubectl", "rollout", "status", f"deployment/{name}")

        return change

    frames_of(gateway, [delete(name) for name in deployments()])


@pytest.mark.timeout(1_800)
def test_upgrades_and_rollbacks_under_a_stream(cluster: Cluster, gateway: str) -> None:
    def upgrade(*words: str) -> Change:
        async def change() -> None:
            await cluster.change("helm", "upgrade", "ft", str(CHART), *cluster.values, *words,
                                 "--wait", "--timeout=5m")  # fmt: skip

        return change

    async def bad_upgrade() -> None:
        done = await asyncio.to_thread(
            cluster.tried, "helm", "upgrade", "ft", str(CHART), *cluster.values,
            "--set=gateway.settings.heartbeatS=never", "--rollback-on-failure", "--wait",
            "--timeout=60s",
        )  # fmt: skip
        assert done.returncode != 0

    scale = [upgrade(f"--set=gateway.replicas={n},vaeDecoder.replicas={m}") for n, m in
             ((3, 2), (1, 1))]  # fmt: skip
    changed = upgrade("--set=gateway.drainSeconds=15,logLevel=WARNING")
    frames_of(gateway, [changed, bad_upgrade, *scale])
    history = cluster.run("helm", "history", "ft")
    assert "failed" in history


@pytest.mark.timeout(600)
def test_a_drain_waits_for_the_budget(cluster: Cluster, gateway: str) -> None:
    """An eviction is what a drain asks for; the last pod of a kind is held by its budget or not."""
    budgets = cluster.get("poddisruptionbudgets")["items"]
    assert {b["metadata"]["name"] for b in budgets} == set(deployments())
    assert all(b["status"]["expectedPods"] >= 1 for b in budgets)


@pytest.mark.timeout(600)
def test_a_port_forward_reaches_it(cluster: Cluster, gateway: str) -> None:
    given = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}  # noqa: TID251
    words = ["port-forward", "service/ft-flashtalk-gateway", ":50050"]
    forwarding = subprocess.Popen(
        [str(Path(sys.executable).with_name("kubectl")), *words], env=given, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert forwarding.stdout is not None
        port = forwarding.stdout.readline().split(":")[1].split()[0]

        async def scenario() -> int:
            async with asyncio.timeout(patient(120)), talk(f"127.0.0.1:{port}") as talking:
                await talking.speak(1)
            return len(talking.frames)

        assert asyncio.run(scenario()) == 28
    finally:
        forwarding.terminate()
        forwarding.wait()
