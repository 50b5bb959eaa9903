"""Every metric that a service declares is described to operators, and nothing else is."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from prometheus_client import REGISTRY

DECLARING = (
    "flashtalk.serving.metrics",
    "services.audio_encoder.batching",
    "services.dit_worker.conditionings",
    "services.gateway.metrics",
)


def test_the_document_lists_the_metrics_that_there_are(repo_root: Path) -> None:
    text = (repo_root / "docs/observability.md").read_text()
    described = set(re.findall(r"`(flashtalk_[a-z_]+)[`{]", text))
    for module in DECLARING:
        importlib.import_module(module)
    declared = set()
    for family in REGISTRY.collect():
        if family.name.startswith("flashtalk_"):
            ending = "_total" if family.type == "counter" else ""
            declared.add(family.name + ending)
    assert described == declared
