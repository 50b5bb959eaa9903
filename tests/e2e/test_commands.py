"""The commands a person types: the suite, the client, pipes, and ends that leave nothing."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest

from tests.e2e.forked_services import forked_program
from tests.e2e.processes import environment
from tests.patience import patient, wait_until

LOCAL = [sys.executable, "-m", "services.local", "--port", "0"]
LIMIT_S = 270.0
"""Of a command that hangs."""


@dataclass(frozen=True)
class Talked:
    """Of two clients that one suite ran, one after the other.

    Args:
        code: of the whole command; told: on its standard error.
        piped: the video on its standard output, from the speech on its standard input.
        folder: where ``a.mp4`` was written, from a file; summary: what was printed of it.
    """

    code: int
    told: str
    piped: bytes
    folder: Path
    summary: str


def talk_command(repo_root: Path, *, audio: str, out: str) -> str:
    flashtalk = str(Path(sys.executable).with_name("flashtalk"))
    image = str(repo_root / "examples/portrait.png")
    return shlex.join(
        [
            flashtalk,
            "talk",
            "--gateway",
            "{gateway}",
            "--image",
            image,
            "--audio",
            audio,
            "--out",
            out,
        ]
    )


@pytest.fixture(scope="module")
def talked(weights: Path, repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Talked:
    """``services.local --run``, with a shell as the command."""
    summary, folder = tmp_path_factory.mktemp("printed") / "summary", tmp_path_factory.mktemp("out")
    file = talk_command(
        repo_root, audio=str(repo_root / "examples/speech.wav"), out=str(folder / "a.mp4")
    )
    both = f"{talk_command(repo_root, audio='-', out='-')} && {file} > {shlex.quote(str(summary))}"
    pcm = np.random.default_rng(0).normal(0, 2_000, 3 * 16_000).astype("<i2").tobytes()
    done = subprocess.run(
        [*LOCAL, "--run", "sh", "-c", both],
        cwd=repo_root,
        env=environment(weights),
        input=pcm,
        capture_output=True,
        timeout=patient(LIMIT_S),
        check=False,
    )
    told = done.stderr.decode()
    assert summary.exists(), told
    return Talked(done.returncode, told, done.stdout, folder, summary.read_text())


def lengths(path: Path) -> tuple[int, float, float]:
    """Frames, and seconds of picture and sound."""
    container: Any = av.open(str(path))
    with container:
        frames = sum(1 for _ in container.decode(video=0))
    container = av.open(str(path))
    with container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    return frames, frames / 25, samples / 16_000


def test_a_file_through_the_whole_suite(talked: Talked) -> None:
    assert talked.code == 0, talked.told
    summary = talked.summary.splitlines()[-1]
    for word in ("frames=300", "seconds=12.00", "fps=", "real_time_factor=", "first_frame_ms="):
        assert word in summary
    frames, pictures_s, sound_s = lengths(talked.folder / "a.mp4")
    assert (frames, pictures_s) == (300, 12.0)
    assert sound_s == pytest.approx(12.0, abs=0.07)  # what a decoder adds at the end
    assert [path.name for path in talked.folder.iterdir()] == ["a.mp4"]


def test_speech_from_a_pipe_video_into_a_pipe(talked: Talked, tmp_path: Path) -> None:
    assert talked.code == 0, talked.told
    assert "frames=75" in talked.told
    path = tmp_path / "a.ts"
    path.write_bytes(talked.piped)
    frames, _, sound_s = lengths(path)
    assert frames == 75
    assert sound_s == pytest.approx(3.0, abs=0.15)


@pytest.mark.parametrize(
    ("number", "when"),
    [
        (signal.SIGINT, "ready"),
        (signal.SIGTERM, "starting"),
        (signal.SIGKILL, "starting"),
        (signal.SIGKILL, "ready"),
    ],
)
def test_the_suite_leaves_no_process_whatever_way_it_ends(
    number: signal.Signals, when: str, weights: Path, repo_root: Path, tmp_path: Path
) -> None:
    log, ready = tmp_path / "log", re.compile("^ready", re.MULTILINE)
    words = [*LOCAL[2:], "--logs", str(tmp_path)]
    with forked_program(words, log, environment(weights)) as process:
        parent = psutil.Process(process.pid)
        if when == "ready":
            wait_until(lambda: ready.search(log.read_text()) is not None, 240, "ready")
        else:
            wait_until(lambda: len(parent.children()) == 3, 120, "the three workers")
        children = parent.children(recursive=True)
        assert len(children) == (4 if when == "ready" else 3)
        parent.send_signal(number)
        process.join(patient(120))
        assert process.exitcode == (-signal.SIGKILL if number is signal.SIGKILL else 0)
        wait_until(lambda: not any(alive(child) for child in children), 120, str(children))


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_service_that_cannot_start_says_why(repo_root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [*LOCAL],
        cwd=repo_root,
        env=environment(tmp_path / "nowhere"),
        capture_output=True,
        text=True,
        timeout=patient(LIMIT_S),
        check=False,
    )
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr
