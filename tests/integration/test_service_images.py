"""What a Dockerfile copies, laid out in a folder, is enough for its service to start."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["gateway", "audio_encoder", "dit_worker", "vae_decoder"])
def test_every_import_of_a_service_is_in_its_image(
    name: str, repo_root: Path, tmp_path: Path
) -> None:
    text = (repo_root / "services" / name / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.*) /app/\S*$", text, re.MULTILINE):
        for source in line.split():
            if not source.startswith("weights"):
                (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / source).symlink_to(repo_root / source)
    program = f"import services, services.{name}.__main__; print(services.__path__[0])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.strip() == str(tmp_path / "services")
