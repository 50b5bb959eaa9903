"""The four images, built and run as a cluster would: read-only, without rights, by themselves.

Not part of ``make test``: ``make test-images`` runs it where docker or podman is there.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from rich.console import Console
from rich.table import Table

from tests.images.containers import Engine, builder, engine
from tests.patience import patient

TAG = "checked"
WORKERS = ("audio-encoder", "dit-worker", "vae-decoder")
SERVICES = ("gateway", *WORKERS)
PORTS = {"gateway": 50050, "audio-encoder": 50051, "dit-worker": 50052, "vae-decoder": 50053}
MIB = 2**20


def image(service: str) -> str:
    return f"flashtalk-{service}:{TAG}"


@pytest.fixture(scope="module")
def running(repo_root: Path) -> Iterator[Engine]:
    """The builder, once all images are there."""
    command = builder()
    if command is None:
        pytest.skip("neither docker nor podman is installed")
    given = {**os.environ, "BUILDER": " ".join(command), "IMAGE_TAG": TAG}  # noqa: TID251
    done = subprocess.run(
        ["scripts/build_images.sh"],
        cwd=repo_root,
        env=given,
        capture_output=True,
        text=True,
        timeout=patient(3_000),
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    with engine(command) as made:
        yield made


@pytest.mark.timeout(3_600)
def test_the_images_say_what_they_are_and_hold_no_more_than_they_need(running: Engine) -> None:
    for service in SERVICES:
        config = running.inspect("image", image(service))["Config"]
        labels = config["Labels"]
        assert labels["org.opencontainers.image.title"] == f"flashtalk-{service}"
        assert len(labels["org.opencontainers.image.revision"]) in (7, 40)
        assert config["User"] == "10001:10001"
    listed = ["run", "--rm", "--network", "none", "--entrypoint", "python"]
    tried = "import importlib.util as u; print([bool(u.find_spec(n)) for n in ('torch', 'pip')])"
    assert running.call(*listed, image("gateway"), "-c", tried) == "[False, False]"
    assert running.call(*listed, image("dit-worker"), "-c", tried) == "[True, False]"
    layers = [running.inspect("image", image(w))["RootFS"]["Layers"] for w in WORKERS]
    assert len(set(layers[0]) & set(layers[1]) & set(layers[2])) >= 2, "torch is there three times"


@pytest.mark.timeout(3_600)
def test_a_video_through_locked_down_containers(
    running: Engine, repo_root: Path, tmp_path: Path
) -> None:
    started = {}
    for worker in WORKERS:
        role = f"FLASHTALK_{worker.upper().replace('-', '_')}_"
        started[worker] = running.start(
            image(worker), f"{running.network}-{worker}", {f"{role}THREADS": "1"}
        )
    seconds = {worker: running.await_ready(started[worker]) for worker in WORKERS}
    places = {w: f"{started[w].address}:{PORTS[w]}" for w in WORKERS}
    started["gateway"] = running.start(
        image("gateway"),
        f"{running.network}-gateway",
        {
            "FLASHTALK_GATEWAY_AUDIO_ENCODERS": places["audio-encoder"],
            "FLASHTALK_GATEWAY_DIT_WORKERS": places["dit-worker"],
            "FLASHTALK_GATEWAY_VAE_DECODERS": places["vae-decoder"],
        },
    )
    seconds["gateway"] = running.await_ready(started["gateway"])
    out = tmp_path / "a.mp4"
    done = subprocess.run(
        [
            ".venv/bin/flashtalk",
            "talk",
            "--gateway",
            f"{started['gateway'].address}:50050",
            "--image",
            "examples/portrait.png",
            "--audio",
            "examples/speech.wav",
            "--out",
            str(out),
        ],
        cwd=repo_root,
        capture_output=True,
        text=True,
        timeout=patient(300),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 300
    for service in ("gateway", *WORKERS):
        assert running.stop(started[service].name) == 0, running.logs(started[service].name)
        assert "Traceback" not in running.logs(started[service].name)
    table = Table(title="Images")
    for column in ("image", "MiB", "ready after, s"):
        table.add_column(column, justify="left" if column == "image" else "right")
    for service in SERVICES:
        size = int(running.inspect("image", image(service))["Size"]) / MIB
        table.add_row(service, f"{size:.0f}", f"{seconds[service]:.1f}")
    Console(width=80).print(table)
