"""The production profile on a real cluster: certificates inside, TLS and keys outside.

Its own Redis, which that profile leaves to the operator, is the chart's here, and monitoring, whose
kinds a bare cluster does not know, is off. Otherwise it is installed as the profile says.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from flashtalk.client import ClientError, FlashTalkClient, tls_credentials
from tests.cluster.kube import CHART, ROOT, Cluster, talk
from tests.fakes.api_keys import KeyFile
from tests.fakes.certificates import Authority, Pair
from tests.patience import patient, wait_until

PUBLIC, WORKER = "flashtalk.example.com", "flashtalk-worker"
PRODUCTION = (
    f"--values={CHART}/profiles/production.yaml",
    "--set=redis.enabled=true",
    "--set=redis.external.existingSecret=",
    "--set=monitoring.podMonitor.enabled=false",
    "--set=monitoring.alerts.enabled=false",
    # Policies would keep the probes below out before their certificates are looked at.
    "--set=networkPolicy.enabled=false",
    "--set=gateway.autoscaling.minReplicas=2",
    "--set=gateway.replicas=2",
)


@dataclass
class Release:
    """What was installed.

    Args:
        inside, outside: who signs the certificates.
        keys: of the public side.
        port: of a forwarding to a gateway.
    """

    cluster: Cluster
    inside: Authority
    outside: Authority
    keys: KeyFile
    port: int

    def client(self, key: str) -> FlashTalkClient:
        """Of the forwarded gateway."""
        return FlashTalkClient(
            f"localhost:{self.port}",
            credentials=tls_credentials(self.outside.ca),
            api_key=key,
            patience_s=patient(60),
        )


@pytest.fixture(scope="module")
def release(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    folder = tmp_path_factory.mktemp("access")
    inside, outside = Authority(folder / "inside"), Authority(folder / "outside")
    names = f"DNS:{PUBLIC},DNS:localhost,DNS:ft-flashtalk-gateway.{cluster.namespace}.svc"
    secrets = {
        "flashtalk-workers-tls": tls_files(inside, inside.issue("worker", f"DNS:{WORKER}")),
        "flashtalk-gateway-client-tls": tls_files(inside, inside.issue("gateway", "DNS:gateway")),
        "flashtalk-public-tls": tls_files(outside, outside.issue("public", names)),
    }
    keys = KeyFile(folder / "keys.json")
    keys.add("alice", max_sessions=4)
    keys.add("test")
    (folder / "key").write_text(keys.keys["test"])
    secrets["flashtalk-api-keys"] = {"keys.json": keys.path}
    secrets["flashtalk-test-key"] = {"key": folder / "key"}
    for name, files in secrets.items():
        words = [f"--from-file={key}={path}" for key, path in files.items()]
        cluster.run("kubectl", "create", "secret", "generic", name, *words)
    try:
        cluster.install(*PRODUCTION)
        with cluster.forwarded("service/ft-flashtalk-gateway", 50050) as port:
            yield Release(cluster, inside, outside, keys, port)
    finally:
        cluster.tried("helm", "uninstall", "ft", "--wait")
        cluster.tried("kubectl", "delete", "secret", *secrets)


def tls_files(authority: Authority, pair: Pair) -> dict[str, Path]:
    return {"ca.crt": authority.ca, "tls.crt": pair.cert, "tls.key": pair.key}


@pytest.mark.timeout(1_800)
def test_helm_test_streams_with_a_key(release: Release) -> None:
    said = release.cluster.run("helm", "test", "ft", "--logs", "--timeout=5m")
    assert "stream: frames=" in said


@pytest.mark.timeout(600)
def test_a_request_with_a_key_is_served_and_one_without_is_refused(release: Release) -> None:
    async def scenario() -> int:
        key = release.keys.keys["alice"]
        credentials = tls_credentials(release.outside.ca)
        options: dict[str, Any] = {"credentials": credentials, "api_key": key}
        async with asyncio.timeout(patient(240)):
            async with talk(f"localhost:{release.port}", **options) as talking:
                await talking.speak(2)
        for wrong in ("", "ftk_wrong-0123456789-wrong-0123456789"):
            async with release.client(wrong) as nobody:
                with pytest.raises(ClientError) as caught:
                    await nobody.create_session(ROOT / "examples/portrait.png")
                assert caught.value.code is grpc.StatusCode.UNAUTHENTICATED
        return len(talking.frames)

    assert asyncio.run(scenario()) == 56


@pytest.mark.timeout(600)
@pytest.mark.parametrize("worker", ["audio-encoder", "dit-worker", "vae-decoder"])
def test_a_pod_without_a_certificate_is_refused(release: Release, worker: str) -> None:
    """And one with it is served, so that it is the certificate that was missing."""
    port = {"audio-encoder": 50051, "dit-worker": 50052, "vae-decoder": 50053}[worker]
    ask = ["--host", f"ft-flashtalk-{worker}", "--port", str(port), "--timeout-s", "30"]
    trusting = ["--tls-ca", "/tls/ca.crt", "--tls-name", WORKER]
    shown = ["--tls-cert", "/tls/tls.crt", "--tls-key", "/tls/tls.key"]
    for words, phase in (([], "Failed"), (trusting, "Failed"), (trusting + shown, "Succeeded")):
        found, said = asked_by_a_pod(release.cluster, [*ask, *words])
        assert found == phase, said


def asked_by_a_pod(cluster: Cluster, words: list[str]) -> tuple[str, str]:
    """How a pod of its own ends that asks a worker whether it serves, and what it says."""
    deployed = cluster.get("deployment", "ft-flashtalk-gateway")["spec"]["template"]["spec"]
    (container,) = deployed["containers"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "asks"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": deployed["securityContext"],
            "containers": [
                {
                    "name": "asks",
                    "image": container["image"],
                    "imagePullPolicy": container["imagePullPolicy"],
                    "command": ["python", "-m", "services.health", *words],
                    "securityContext": container["securityContext"],
                    "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
                }
            ],
            "volumes": [{"name": "tls", "secret": {"secretName": "flashtalk-gateway-client-tls"}}],
        },
    }
    cluster.apply(json.dumps(pod))

    def phase() -> str:
        return str(cluster.get("pod", "asks")["status"]["phase"])

    try:
        wait_until(lambda: phase() in ("Failed", "Succeeded"), 180, "the pod's end")
        return phase(), cluster.run("kubectl", "logs", "asks")
    finally:
        cluster.run("kubectl", "delete", "pod", "asks", "--wait")
