"""The chart as a cluster would get it."""

from __future__ import annotations

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
    "h100x8": ("h100x8",),
    "production": ("h100x8", "production"),
}
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


def pods(documents: tuple[Document, ...]) -> dict[str, Document]:
    """Pod specs, by the name of what makes them."""
    made = of_kind(documents, "Deployment", "StatefulSet")
    specs = {found["metadata"]["name"]: found["spec"]["template"]["spec"] for found in made}
    return specs | {f["metadata"]["name"]: f["spec"] for f in of_kind(documents, "Pod")}
