"""Every service has what an operator looks for: all settings in its README, a Dockerfile."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from flashtalk.serving.settings import ServiceSettings
from flashtalk.wire.status import Reason

SERVICES = {
    "gateway": "GatewaySettings",
    "audio_encoder": "AudioEncoderSettings",
    "dit_worker": "DitWorkerSettings",
    "vae_decoder": "VaeDecoderSettings",
}


@pytest.mark.parametrize("name", SERVICES)
def test_the_readme_has_every_setting_and_no_other(name: str, repo_root: Path) -> None:
    kind: type[ServiceSettings] = getattr(
        importlib.import_module(f"services.{name}.settings"), SERVICES[name]
    )
    prefix = str(kind.model_config.get("env_prefix"))
    text = (repo_root / "services" / name / "README.md").read_text()
    named = set(re.findall(rf"`({prefix}[A-Z_]+)`", text))
    assert named == {prefix + field.upper() for field in kind.model_fields}


@pytest.mark.parametrize("name", SERVICES)
def test_the_dockerfile_copies_what_exists(name: str, repo_root: Path) -> None:
    text = (repo_root / "services" / name / "Dockerfile").read_text()
    sources = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    assert [source for source in sources if not (repo_root / source).exists()] == []
    assert f'"services.{name}"' in text
    assert ("torch" in text) == (name != "gateway")
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "gateway"])
def test_workers_share_the_stage_with_torch(name: str, repo_root: Path) -> None:
    shared, _, _ = (repo_root / "services/dit_worker/Dockerfile").read_text().partition(" AS app")
    own, _, _ = (repo_root / "services" / name / "Dockerfile").read_text().partition(" AS app")
    assert instructions(own) == instructions(shared)
    lock = repo_root / "requirements" / f"{name.replace('_', '-')}.txt"
    assert instructions(lock.read_text()) == instructions(
        (repo_root / "requirements/worker.txt").read_text()
    )


def instructions(text: str) -> list[str]:
    """All but comments."""
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_the_protocol_names_every_reason(repo_root: Path) -> None:
    text = (repo_root / "docs" / "protocol.md").read_text()
    assert [reason for reason in Reason if f"`{reason}`" not in text] == []
