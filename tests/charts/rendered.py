"""The chart as a cluster would get it."""

from __future__ import annotations

import copy
import functools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.patience import patient

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/flashtalk"
HELM = Path(sys.executable).with_name("helm")
OLD, NEW = "1.20.2", "1.33.0"
OLD_APIS = ("policy/v1beta1", "autoscaling/v2beta2")
PROFILES = {
    "defaults": (),
    "tiny": ("tiny",),
    "single-gpu": ("single-gpu",),
    "consumer-gpu": ("consumer-gpu",),
    "h100x8": ("h100x8",),
    "multi-node": ("multi-node",),
    "production": ("h100x8", "production"),
}
WORKER_INDEX = "leaderworkerset.sigs.k8s.io/worker-index"
Document = dict[str, Any]


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    """What helm says."""
    return subprocess.run(
        [str(HELM), *words], capture_output=True, text=True, timeout=patient(120), check=False
    )


def options(profile: str) -> list[str]:
    """Files of values of a profile."""
    return [f"--values={CHART}/profiles/{name}.yaml" for name in PROFILES[profile]]


def template(*words: str, version: str = NEW) -> subprocess.CompletedProcess[str]:
    """A rendering for a version of Kubernetes."""
    return helm("template", "ft", str(CHART), f"--kube-version={version}", *words)


@functools.cache
def rendered(profile: str, version: str = NEW, *words: str) -> tuple[Document, ...]:
    """The documents of a profile. Raises AssertionError with helm's errors."""
    done = template(*options(profile), *words, version=version)
    assert done.returncode == 0, done.stderr
    return tuple(found for found in yaml.safe_load_all(done.stdout) if found)


def text_of(profile: str) -> str:
    """The same as text, without the password that is drawn anew each time."""
    done = template(*options(profile))
    assert done.returncode == 0, done.stderr
    passwordless = re.sub(r"(password: |requirepass |redis://:)\"?\w{32}", r"\1DRAWN", done.stdout)
    return "\n".join(line.rstrip() for line in passwordless.splitlines()) + "\n"


def of_kind(documents: tuple[Document, ...], *kinds: str) -> list[Document]:
    """Those of some kinds."""
    return [found for found in documents if found["kind"] in kinds]


def templates(documents: tuple[Document, ...]) -> dict[str, Document]:
    """Templates of the pods that serve, by the name of what makes them."""
    made = of_kind(documents, "Deployment", "StatefulSet")
    found = {one["metadata"]["name"]: one["spec"]["template"] for one in made}
    for group in of_kind(documents, "LeaderWorkerSet"):
        leader = copy.deepcopy(group["spec"]["leaderWorkerTemplate"]["leaderTemplate"])
        leader["metadata"]["labels"][WORKER_INDEX] = "0"  # which its controller gives it
        found[group["metadata"]["name"]] = leader
    return found


def pods(documents: tuple[Document, ...]) -> dict[str, Document]:
    """Pod specs, by the name of what makes them."""
    specs = {name: made["spec"] for name, made in templates(documents).items()}
    for group in of_kind(documents, "LeaderWorkerSet"):
        follower = group["spec"]["leaderWorkerTemplate"]["workerTemplate"]
        specs[f"{group['metadata']['name']}-followers"] = follower["spec"]
    return specs | {f["metadata"]["name"]: f["spec"] for f in of_kind(documents, "Pod")}
