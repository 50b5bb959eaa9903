"""The commands a person types: the suite, the client, pipes, and ends that leave nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest

from tests.e2e.processes import environment

LOCAL = [sys.executable, "-m", "services.local", "--port", "0"]


def talk_command(repo_root: Path, *, audio: str, out: str) -> list[str]:
    flashtalk = str(Path(sys.executable).with_name("flashtalk"))
    image = str(repo_root / "examples/portrait.png")
    return [flashtalk, "talk", "--gateway", "{gateway}", "--image", image,
            "--audio", audio, "--out", out]  # fmt: skip


def lengths(path: Path) -> tuple[int, float, float]:
    """Frames, and seconds of picture and sound."""
    container: Any = av.open(str(path))
    with container:
        frames = sum(1 for _ in container.decode(video=0))
    container = av.open(str(path))
    with container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    return frames, frames / 25, samples / 16_000


def test_a_file_through_the_whole_suite(weights: Path, repo_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    speech = str(repo_root / "examples/speech.wav")
    done = subprocess.run(
        [*LOCAL, "--run", *talk_command(repo_root, audio=speech, out=str(out))],
        cwd=repo_root, env=environment(weights), capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = done.stdout.splitlines()[-1]
    for word in ("frames=300", "seconds=12.00", "fps=", "real_time_factor=", "first_frame_ms="):
        assert word in summary
    frames, pictures_s, sound_s = lengths(out)
    assert (frames, pictures_s) == (300, 12.0)
    assert sound_s == pytest.approx(12.0, abs=0.07)  # what a decoder adds at the end
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_speech_from_a_pipe_video_into_a_pipe(
    weights: Path, repo_root: Path, tmp_path: Path
) -> None:
    pcm = np.random.default_rng(0).normal(0, 2_000, 3 * 16_000).astype("<i2").tobytes()
    done = subprocess.run(
        [*LOCAL, "--run", *talk_command(repo_root, audio="-", out="-")],
        cwd=repo_root, env=environment(weights), input=pcm, capture_output=True, timeout=100,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"frames=75" in done.stderr
    path = tmp_path / "a.ts"
    path.write_bytes(done.stdout)
    frames, _, sound_s = lengths(path)
    assert frames == 75
    assert sound_s == pytest.approx(3.0, abs=0.15)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_suite_leaves_no_process_whatever_way_it_ends(
    number: signal.Signals, weights: Path, repo_root: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [*LOCAL, "--logs", str(tmp_path)], cwd=repo_root, env=environment(weights),
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("ready"):
                break
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 4
        os.kill(process.pid, number)
        code = process.wait(30)
        assert code == (-signal.SIGKILL if number is signal.SIGKILL else 0)
        until_s = time.monotonic() + 20
        while any(child.is_running() for child in children) and time.monotonic() < until_s:
            time.sleep(0.05)
        left = [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE]
        assert left == []
    finally:
        process.stdout.close()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_service_that_cannot_start_says_why(repo_root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [*LOCAL], cwd=repo_root, env=environment(tmp_path / "nowhere"), capture_output=True,
        text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr
