"""The chart, rendered: valid for old and new clusters, locked down; wrong values are named."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from flashtalk.presets import PRESETS
from flashtalk.serving.settings import ServiceSettings
from services.audio_encoder.settings import AudioEncoderSettings
from services.dit_worker.settings import DitWorkerSettings
from services.gateway.settings import GatewaySettings
from services.vae_decoder.settings import VaeDecoderSettings
from tests.charts.rendered import (
    CHART,
    NEW,
    OLD,
    PROFILES,
    ROOT,
    WORKER_INDEX,
    helm,
    of_kind,
    options,
    pods,
    rendered,
    template,
    templates,
    text_of,
)
from tests.fakes.echo_gateway import echo_gateway
from tests.patience import patient

GOLDENS = ROOT / "tests/charts"
FOREIGN = {
    "PodMonitor",
    "ServiceMonitor",
    "PrometheusRule",
    "ScaledObject",
    "GRPCRoute",
    "LeaderWorkerSet",
}
SETTINGS: dict[str, type[ServiceSettings]] = {
    "GATEWAY": GatewaySettings,
    "AUDIO_ENCODER": AudioEncoderSettings,
    "DIT_WORKER": DitWorkerSettings,
    "VAE_DECODER": VaeDecoderSettings,
}
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_valid_for_a_current_cluster(profile: str) -> None:
    done = helm("lint", "--strict", str(CHART), *options(profile))
    assert done.returncode == 0, done.stdout
    for document in rendered(profile):
        if document["kind"] not in FOREIGN:
            kubernetes_validate.validate(document, "1.33.0", strict=True)


@pytest.mark.parametrize("profile", PROFILES)
def test_old_clusters_get_the_kinds_that_they_know(profile: str) -> None:
    documents = rendered(profile, OLD, "--api-versions=policy/v1beta1")
    assert len(documents) == len(rendered(profile))
    for pod in pods(documents).values():
        for container in pod["containers"]:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert "grpc" not in container.get(probe, {})


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("version", [OLD, NEW])
def test_pods_meet_the_restricted_standard(profile: str, version: str) -> None:
    found = pods(rendered(profile, version))
    assert len(found) >= 5
    for name, pod in found.items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"] + pod.get("initContainers", []):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
            for port in container.get("ports", []):
                assert port["protocol"] == "TCP"


@pytest.mark.parametrize("profile", PROFILES)
def test_services_and_policies_meet_the_pods_they_are_for(profile: str) -> None:
    documents = rendered(profile)
    labels = {n: made["metadata"]["labels"] for n, made in templates(documents).items()}

    def chosen(selector: dict[str, str]) -> list[str]:
        return [n for n, has in labels.items() if selector.items() <= has.items()]

    for service in of_kind(documents, "Service"):
        assert chosen(service["spec"]["selector"]) == [service["metadata"]["name"]]
        assert all(port["protocol"] == "TCP" for port in service["spec"]["ports"])
    for budget in of_kind(documents, "PodDisruptionBudget"):
        assert len(chosen(budget["spec"]["selector"]["matchLabels"])) == 1
    policies = {p["metadata"]["name"]: p["spec"] for p in of_kind(documents, "NetworkPolicy")}
    assert policies.keys() == labels.keys()
    for name, policy in policies.items():
        assert chosen(policy["podSelector"]["matchLabels"]) == [name]
        work = next(r for r in policy["ingress"] if r["ports"][0]["port"] in ("grpc", "redis"))
        if name != "ft-flashtalk-gateway":
            (source,) = work["from"]
            assert chosen(source["podSelector"]["matchLabels"]) == ["ft-flashtalk-gateway"]


@pytest.mark.parametrize("claim", ["", "shared-cache"])
def test_compiled_workers_keep_what_they_built(claim: str) -> None:
    """In a folder of their own, on a volume that they can write to."""
    flags = ("--set=compile.enabled=true", f"--set=compile.claim={claim}")
    found = pods(rendered("tiny", NEW, *flags))
    folders = set()
    for name, pod in found.items():
        (container,) = pod["containers"]
        env = {v["name"]: v.get("value") for v in container.get("env", [])}
        role = container["name"].upper().replace("-", "_")
        if role not in ("AUDIO_ENCODER", "DIT_WORKER", "VAE_DECODER"):
            assert not any("COMPILE" in variable for variable in env), name
            continue
        assert SETTINGS[role].model_fields["compile"].annotation is bool
        assert env[f"FLASHTALK_{role}_COMPILE"] == "true"
        folder = env["TORCHINDUCTOR_CACHE_DIR"]
        assert env["TRITON_CACHE_DIR"] == folder
        folders.add(folder)
        (mount,) = [m for m in container["volumeMounts"] if folder.startswith(m["mountPath"] + "/")]
        assert not mount.get("readOnly")
        (volume,) = [v for v in pod["volumes"] if v["name"] == mount["name"]]
        kept = volume.get("persistentVolumeClaim", {}).get("claimName", "")
        assert kept == claim
    assert len(folders) == 3


@pytest.mark.parametrize("profile", PROFILES)
def test_every_variable_is_a_setting_of_its_service(profile: str) -> None:
    for pod in pods(rendered(profile)).values():
        for container in pod["containers"]:
            role = container["name"].upper().replace("-", "_")
            prefix = f"FLASHTALK_{role}_"
            names = [v["name"] for v in container.get("env", []) if v["name"].startswith(prefix)]
            fields = SETTINGS[role].model_fields if names else {}
            assert {name.removeprefix(prefix).lower() for name in names} <= set(fields), role
            assert len(names) == len(set(names)), "a variable twice"


def test_every_worker_gets_the_same_overlays() -> None:
    """The gateway accepts workers of one digest only, and overlays are part of it."""
    flag = "--set-json=weights.overlays=" + json.dumps(["/weights/a.pt", "/weights/b.pt:0.8"])
    found: dict[str, str] = {}
    for pod in pods(rendered("tiny", NEW, flag)).values():
        for container in pod["containers"]:
            env = {v["name"]: v.get("value") for v in container.get("env", [])}
            found |= {name: value for name, value in env.items() if name.endswith("_OVERLAYS")}
    roles = ("AUDIO_ENCODER", "DIT_WORKER", "VAE_DECODER")
    value = "/weights/a.pt,/weights/b.pt:0.8"
    assert found == {f"FLASHTALK_{role}_OVERLAYS": value for role in roles}
    assert all("overlays" in SETTINGS[role].model_fields for role in roles)


def test_a_group_over_nodes_serves_through_its_leader_alone() -> None:
    """And its pods are what a current cluster accepts, though their controller is foreign."""
    documents = rendered("multi-node")
    (group,) = of_kind(documents, "LeaderWorkerSet")
    spec = group["spec"]["leaderWorkerTemplate"]
    assert spec["size"] == 2
    assert spec["restartPolicy"] == "RecreateGroupOnPodRestart"
    for made in (spec["leaderTemplate"], spec["workerTemplate"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": made["spec"]}
        kubernetes_validate.validate(pod, "1.33.0", strict=True)
    (leader,), (follower,) = (
        spec[name]["spec"]["containers"] for name in ("leaderTemplate", "workerTemplate")
    )
    serves = {"ports", "startupProbe", "readinessProbe", "livenessProbe"}
    assert leader.keys() - follower.keys() == serves
    assert {name: value for name, value in leader.items() if name not in serves} == follower
    assert "--nnodes=$(LWS_GROUP_SIZE)" in leader["command"]
    services = {found["metadata"]["name"]: found for found in of_kind(documents, "Service")}
    assert services["ft-flashtalk-dit-worker"]["spec"]["selector"][WORKER_INDEX] == "0"
    policies = {found["metadata"]["name"]: found for found in of_kind(documents, "NetworkPolicy")}
    among = policies["ft-flashtalk-dit-worker"]["spec"]["ingress"][-1]
    assert among["from"][0]["podSelector"]["matchLabels"].items() <= (
        spec["workerTemplate"]["metadata"]["labels"].items()
    )
    assert "ports" not in among
    scaled = rendered(
        "multi-node",
        NEW,
        "--set=ditWorker.keda.enabled=true",
        "--set=ditWorker.keda.prometheus=http://prometheus:9090",
    )
    (scaler,) = of_kind(scaled, "ScaledObject")
    assert scaler["spec"]["scaleTargetRef"]["kind"] == "LeaderWorkerSet"


def test_the_presets_of_the_chart_are_those_of_the_program() -> None:
    assert tuple(SCHEMA["properties"]["preset"]["enum"]) == PRESETS


def test_one_gpu_in_two_shares_is_enough_for_flashhead() -> None:
    """Only two pods ask for it, and none of them starts beside its predecessor."""
    documents = rendered("consumer-gpu")
    shares = {}
    for made in of_kind(documents, "Deployment"):
        spec = made["spec"]["template"]["spec"]
        limits = [c["resources"]["limits"].get("nvidia.com/gpu", 0) for c in spec["containers"]]
        if sum(limits):
            shares[made["metadata"]["name"]] = sum(limits) * made["spec"]["replicas"]
            assert made["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0
    assert shares == {"ft-flashtalk-dit-worker": 1, "ft-flashtalk-vae-decoder": 1}
    both = template(*options("consumer-gpu"), "--set=preset=flashhead-1.3b,vaeDecoder.ranks=2")
    assert both.returncode == 0, both.stderr
    lite = template(*options("consumer-gpu"), "--set=vaeDecoder.ranks=2")
    assert lite.returncode != 0
    assert "vaeDecoder.ranks: only 1 with preset flashhead-1.3b-lite" in lite.stderr


@pytest.mark.parametrize("profile", ["tiny", "production"])
def test_the_rendering_is_the_recorded_one(profile: str) -> None:
    """After a change that is meant: FLASHTALK_RECORD=1 pytest tests/integration/test_chart.py"""
    path = GOLDENS / f"{profile}.yaml"
    if os.environ.get("FLASHTALK_RECORD"):  # noqa: TID251 - the test's own switch
        path.write_text(text_of(profile))
    assert text_of(profile) == path.read_text()


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("gateway.replica=3", "replica"),
        ("gateway.replicas=many", "/gateway/replicas"),
        ("gateway.replicas=-1", "/gateway/replicas"),
        ("preset=huge", "/preset"),
        ("sizes=wide", "/sizes"),
        ("weights.source=claim", "weights.claim"),
        ("weights.overlays={a.safetensors}", "/weights/overlays/0"),
        ("weights.overlays={/a\\,/b}", "/weights/overlays/0"),
        ("weights.source=download", "weights.download.url"),
        ("weights.download.sha256=12", "/weights/download/sha256"),
        ("tls.internal.enabled=true", "tls.internal.secret"),
        ("tls.public.enabled=true", "tls.public"),
        ("redis.enabled=false", "redis.enabled or redis.external"),
        ("redis.external.url=redis://a:6379/0", "redis.enabled, redis.external"),
        ("redis.external.url=http://a", "/redis/external/url"),
        ("ingress.enabled=true", "ingress.host"),
        ("ditWorker.keda.enabled=true", "ditWorker.keda.prometheus"),
        ("ditWorker.ranks=100", "/ditWorker/ranks"),
        ("ditWorker.nodes=0", "/ditWorker/nodes"),
        ("gateway.service.port=0", "/gateway/service/port"),
        ("tracing.otlpEndpoint=collector", "/tracing/otlpEndpoint"),
        ("compile.enabled=maybe", "/compile/enabled"),
        ("compile.cachePath=compiled", "/compile/cachePath"),
        ("nothing=1", "nothing"),
    ],
)
def test_wrong_values_are_refused_with_their_name(setting: str, names: str) -> None:
    done = template(f"--set={setting}")
    assert done.returncode != 0
    assert names in done.stderr
    assert done.stdout == ""


def booleans(values: Any, path: str = "") -> list[str]:
    if isinstance(values, bool):
        return [path[1:]]
    if not isinstance(values, dict):
        return []
    return [found for name, value in values.items() for found in booleans(value, f"{path}.{name}")]


NEEDS = {
    "ingress.enabled": ["ingress.host=a.example"],
    "gatewayApi.enabled": ["gatewayApi.parentRefs[0].name=gw"],
    "ditWorker.keda.enabled": ["ditWorker.keda.prometheus=http://prometheus:9090"],
    "redis.enabled": ["redis.external.url=redis://redis:6379/0"],
    "tls.internal.enabled": ["tls.internal.secret=s"],
    "tls.public.enabled": ["tls.public.secret=s", "tls.public.name=n"],
    "tls.public.clientCertificates": [
        "tls.public.enabled=true",
        "tls.public.secret=s",
        "tls.public.name=n",
    ],
}


@pytest.mark.parametrize("switch", booleans(VALUES))
def test_every_switch_switches_something(switch: str) -> None:
    value: Any = VALUES
    for name in switch.split("."):
        value = value[name]
    needs = [f"--set={need}" for need in NEEDS.get(switch, [])]
    flipped = template(*needs, f"--set={switch}={str(not value).lower()}")
    assert flipped.returncode == 0, flipped.stderr
    off = needs if switch == "tls.public.clientCertificates" else []
    plain = template(*off)
    same = [re.sub(r"\w{32}", "DRAWN", done.stdout) for done in (flipped, plain)]
    assert same[0] != same[1]


def test_values_schema_and_readme_are_in_step() -> None:
    def same(schema: dict[str, Any], values: dict[str, Any], path: str) -> None:
        assert set(schema["properties"]) - {"global"} == set(values), path
        assert schema["additionalProperties"] is False, path
        for name, about in schema["properties"].items():
            assert about["description"], f"{path}.{name}"
            if "properties" in about:
                same(about, values[name], f"{path}.{name}")

    same(SCHEMA, VALUES, "")
    script = [sys.executable, str(ROOT / "scripts/make_chart_docs.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_notes_name_the_next_command_and_what_is_open() -> None:
    done = helm("install", "ft", str(CHART), "--dry-run=client")
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    assert "helm test ft --namespace default --logs" in notes
    assert "WARNING: no API keys are configured" in notes


def test_files_of_the_chart_are_programs(tmp_path: Path) -> None:
    """What runs inside pods compiles, and the download refuses a wrong digest."""
    archive = tmp_path / "weights.tar"
    subprocess.run(["tar", "-cf", archive, "-C", ROOT / "examples", "portrait.png"], check=True)
    words = [sys.executable, str(CHART / "files/fetch_weights.py"), archive.as_uri()]
    digest = subprocess.run(["sha256sum", archive], capture_output=True, text=True, check=True)
    right = digest.stdout.split()[0]
    target = tmp_path / "weights"
    target.mkdir()
    done = subprocess.run([*words, "0" * 64, target], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert right in done.stderr
    assert list(target.iterdir()) == []
    for said in ("unpacked; ", "is already unpacked"):
        done = subprocess.run([*words, right, target], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
    assert (target / "portrait.png").read_bytes() == (ROOT / "examples/portrait.png").read_bytes()


@pytest.mark.parametrize("lost", [0, 1])
def test_the_stream_test_sees_what_is_wrong(lost: int) -> None:
    """A gateway that gives back what it heard, and one that loses a frame."""
    with echo_gateway(lost_frames=lost) as heard:
        words = [sys.executable, str(CHART / "files/stream_test.py"), heard.target, "1"]
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=patient(120), check=False
        )
    assert done.returncode == (1 if lost else 0), done.stderr
    assert "stream: frames=" in done.stdout
    assert ("frame_index " in done.stderr) is bool(lost)
