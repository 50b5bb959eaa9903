"""The chart on a real cluster: installed, tested, disturbed under a live stream, removed.

Not part of ``make test``: ``make test-cluster`` takes the cluster of KUBECONFIG, or starts one with
the scripts of CLUSTER_KIT (up.sh, down.sh), whose node has to be this machine. Services have to be
reachable by their cluster addresses from here. CLUSTER_VALUES are more words for helm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.cluster.kube import CHART, Cluster, Talk, deployments, disturbed, talk, undisturbed
from tests.patience import patient, wait_until

Change = Callable[[], Awaitable[Any]]


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
    wait_until(lambda: everything(cluster) <= before, 120, "what the release has left")


def everything(cluster: Cluster) -> set[str]:
    """Names of all things of the kinds that a release makes."""
    kinds = (
        "deployments,statefulsets,pods,services,configmaps,secrets,serviceaccounts,"
        "poddisruptionbudgets,networkpolicies,persistentvolumeclaims"
    )
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
            await cluster.change(
                "helm",
                "upgrade",
                "ft",
                str(CHART),
                *cluster.values,
                *words,
                "--wait",
                "--timeout=5m",
            )

        return change

    async def bad_upgrade() -> None:
        done = await asyncio.to_thread(
            cluster.tried,
            "helm",
            "upgrade",
            "ft",
            str(CHART),
            *cluster.values,
            "--set=gateway.settings.heartbeatS=never",
            "--rollback-on-failure",
            "--wait",
            "--timeout=60s",
        )
        assert done.returncode != 0

    scale = [
        upgrade(f"--set=gateway.replicas={n},vaeDecoder.replicas={m}") for n, m in ((3, 2), (1, 1))
    ]
    changed = upgrade("--set=gateway.drainSeconds=15,logLevel=WARNING")
    frames_of(gateway, [changed, bad_upgrade, *scale])
    history = cluster.run("helm", "history", "ft")
    assert "failed" in history


@pytest.mark.timeout(1_800)
def test_a_budget_lets_one_pod_go_at_a_time(cluster: Cluster, gateway: str) -> None:
    """What a drain asks for is an eviction: of two gateways one goes, the other has to wait."""
    budgets = cluster.get("poddisruptionbudgets")["items"]
    assert {b["metadata"]["name"] for b in budgets} == set(deployments())
    cluster.run("kubectl", "scale", "deployment/ft-flashtalk-gateway", "--replicas=2")
    cluster.run("kubectl", "rollout", "status", "deployment/ft-flashtalk-gateway")
    name = "ft-flashtalk-gateway"

    def may_go() -> bool:
        return bool(cluster.get("poddisruptionbudget", name)["status"]["disruptionsAllowed"] == 1)

    async def evict_both() -> None:
        await asyncio.to_thread(wait_until, may_go, 120, "a budget that knows both")
        one, other = cluster.pods("gateway")[:2]
        done = [await asyncio.to_thread(cluster.evicted, pod) for pod in (one, other)]
        assert done[0].returncode == 0, done[0].stderr
        assert done[1].returncode != 0
        assert "disruption budget" in done[1].stderr
        await cluster.change("kubectl", "rollout", "status", f"deployment/{name}")

    frames_of(gateway, [evict_both])


@pytest.mark.timeout(1_800)
def test_a_node_is_drained_under_a_stream(cluster: Cluster, gateway: str) -> None:
    """All but Redis, which has no volume here. The pods come back when the node may be used.

    One gateway: where this is the only node, the budget of two would wait for it for ever.
    """
    cluster.run("kubectl", "scale", "deployment/ft-flashtalk-gateway", "--replicas=1")
    wait_until(lambda: len(cluster.pods("gateway")) == 1, 120, "one gateway")
    pods = "app.kubernetes.io/instance=ft,app.kubernetes.io/component!=redis"
    node = cluster.get("pods", f"--selector={pods}")["items"][0]["spec"]["nodeName"]

    async def drain() -> None:
        try:
            await cluster.change(
                "kubectl",
                "drain",
                node,
                f"--pod-selector={pods}",
                "--delete-emptydir-data",
                "--ignore-daemonsets",
            )
        finally:
            await cluster.change("kubectl", "uncordon", node)
        for name in deployments():
            await cluster.change("kubectl", "rollout", "status", f"deployment/{name}")

    frames_of(gateway, [drain])


@pytest.mark.timeout(600)
def test_a_port_forward_reaches_it(cluster: Cluster, gateway: str) -> None:
    async def scenario(port: int) -> int:
        async with asyncio.timeout(patient(120)), talk(f"127.0.0.1:{port}") as talking:
            await talking.speak(1)
        return len(talking.frames)

    with cluster.forwarded("service/ft-flashtalk-gateway", 50050) as port:
        assert asyncio.run(scenario(port)) == 28
