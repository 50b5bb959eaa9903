"""The cluster that the checks share."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.kube import CHART, Cluster

TINY = f"--values={CHART}/profiles/tiny.yaml"


def wanted(name: str) -> str:
    return os.environ.get(name, "")  # noqa: TID251 - what the Makefile hands on


@pytest.fixture(scope="session")
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
