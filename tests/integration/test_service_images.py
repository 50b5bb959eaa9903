"""What a Dockerfile copies, laid out in a folder, is enough for its service to start."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import patient

SERVICES = ("gateway", "audio_encoder", "dit_worker", "vae_decoder")
# One interpreter imports what is not ours and is copied for each service: the libraries take the
# time, and they are the same in every folder.
PROGRAM = """
import importlib, json, os, sys, traceback
import google.protobuf, grpc, numpy, torch

sys.path.remove("")
for name, folder in json.loads(sys.argv[1]).items():
    if not os.fork():
        os.chdir(folder)
        sys.path.insert(0, folder)
        try:
            importlib.import_module("services.health.__main__")
            importlib.import_module(f"services.{name}.__main__")
            said = sys.modules["services"].__path__[0]
            if "torch._dynamo" in sys.modules:
                said = "the compiler is imported at every start, a second and more of it"
        except BaseException:
            said = traceback.format_exc()
        print(json.dumps([name, said]), flush=True)
        os._exit(0)
    os.wait()
"""


def lay_out(name: str, root: Path, folder: Path) -> None:
    """Links in place of copies."""
    text = (root / "services" / name / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.*) /app/\S*$", text, re.MULTILINE):
        for source in line.split():
            if not source.startswith("weights"):
                (folder / source).parent.mkdir(parents=True, exist_ok=True)
                (folder / source).symlink_to(root / source)


@pytest.fixture(scope="module")
def folders(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What lies in the image of each service."""
    found = {name: tmp_path_factory.mktemp(name) for name in SERVICES}
    for name, folder in found.items():
        lay_out(name, repo_root, folder)
    return {name: str(folder) for name, folder in found.items()}


@pytest.fixture(scope="module")
def said(folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Per service, from where it was imported; or why it could not be."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(folders)],
        capture_output=True,
        text=True,
        timeout=patient(200),
        cwd=tmp_path_factory.mktemp("empty"),
    )
    assert done.returncode == 0, done.stderr[-500:]
    return dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", SERVICES)
def test_every_import_of_a_service_is_in_its_image(
    name: str, said: dict[str, str], folders: dict[str, str]
) -> None:
    assert said[name] == f"{folders[name]}/services"
