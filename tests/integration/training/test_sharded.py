"""Two ranks that share weights and batch do what one process does; killed, they go on exactly."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from training.core.checkpoint import find_checkpoint
from training.train import main

RUN = ("trainer.threads=1", "decay=constant", "warmup=0", "bf16=false")
LAUNCH = [
    sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
    "-m", "training.train",
]  # fmt: skip


def arguments(recipe: str, data_dir: Path, weights: Path, run_dir: Path) -> list[str]:
    return ["--recipe", recipe, "--smoke", "--run-dir", str(run_dir), "--data", str(data_dir),
            "--weights", str(weights)]  # fmt: skip


# Each starts torchrun a few times, which takes half a minute of a slow machine's two cores.
pytestmark = pytest.mark.timeout(240)


def launch(arguments: list[str], *overrides: str) -> subprocess.Popen[str]:
    given = dict(os.environ) | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # noqa: TID251 - what a shell would hand on
    return subprocess.Popen(
        [*LAUNCH, *arguments, *overrides], env=given, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def finished(process: subprocess.Popen[str], code: int = 0) -> str:
    output, _ = process.communicate(timeout=200)
    assert process.returncode == code, output
    return output


def kept(run_dir: Path, recipe: str) -> tuple[int, dict[str, Tensor]]:
    checkpoint = find_checkpoint(run_dir, recipe)
    assert checkpoint is not None
    return int(checkpoint.values["step"]), checkpoint.read()


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], atol: float) -> None:
    for name, tensor in expected.items():
        difference = float((found[name] - tensor).abs().max())
        assert difference <= atol + 1e-4 * float(tensor.abs().max()), (name, difference)


@pytest.mark.parametrize(
    ("recipe", "optimizer"),
    [
        ("tiny_sft", "adamw"), ("tiny_sft", "muon"), ("tiny_distill", "adamw"),
        ("flashtalk_14b_sft", "adamw"), ("flashtalk_14b_distill", "adamw"),
    ],
)  # fmt: skip
def test_two_ranks_do_what_one_does(
    recipe: str, optimizer: str, trained: Path, data_dir: Path, tmp_path: Path
) -> None:
    runs = {}
    for name in ("one", "two"):
        here = tmp_path / name
        shutil.copytree(trained, here / "weights")
        options = arguments(recipe, data_dir, here / "weights", here / "run")
        chosen = f"optimizer={optimizer}"
        if name == "one":
            assert main([*options, *RUN, chosen]) == 0
        else:
            finished(launch(options, *RUN, chosen))
        runs[name] = kept(here / "run", recipe)
    (steps, alone), (same, together) = runs["one"], runs["two"]
    assert steps == same
    assert alone.keys() == together.keys()
    # Muon rounds to bfloat16 on its way: a last bit of that in three moves of up to 0.03.
    tolerance = 1e-5 if optimizer == "adamw" else 5e-3
    assert_close(together, alone, tolerance)
    exported = sorted(path.name for path in (tmp_path / "two/weights").rglob("*"))
    assert exported == sorted(path.name for path in (tmp_path / "one/weights").rglob("*"))


def test_a_killed_sharded_run_goes_on_exactly_on_any_number_of_ranks(
    trained: Path, data_dir: Path, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for here in (whole, broken):
        shutil.copytree(trained, here / "weights")
    steps = ("steps=8", "checkpoint_every_steps=2", "evaluate_every_s=0")
    options = arguments("tiny_distill", data_dir, whole / "weights", whole / "run")
    finished(launch(options, *RUN, *steps))
    options = arguments("tiny_distill", data_dir, broken / "weights", broken / "run")
    process = launch(options, *RUN, *steps)
    until_s = time.monotonic() + 100
    while find_checkpoint(broken / "run", "tiny_distill") is None:
        assert time.monotonic() < until_s
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)
    cut, _ = kept(broken / "run", "tiny_distill")
    assert cut < 8
    shutil.copytree(broken, tmp_path / "alone")
    finished(launch(options, *RUN, *steps))
    expected, resumed = kept(whole / "run", "tiny_distill"), kept(broken / "run", "tiny_distill")
    assert expected[0] == resumed[0] == 8
    for name, tensor in expected[1].items():
        assert torch.equal(resumed[1][name], tensor), name
    # And one process takes over from two.
    alone = tmp_path / "alone"
    options = arguments("tiny_distill", data_dir, alone / "weights", alone / "run")
    assert main([*options, *RUN, *steps]) == 0
    _, tensors = kept(alone / "run", "tiny_distill")
    assert_close(tensors, expected[1], 1e-5)


def test_what_cannot_be_shared_is_refused(trained: Path, data_dir: Path, tmp_path: Path) -> None:
    options = arguments("tiny_audio", data_dir, trained, tmp_path / "run")
    output = finished(launch(options), code=1)
    assert "tiny_audio: one process" in output
    options = arguments("tiny_sft", data_dir, trained, tmp_path / "odd")
    output = finished(launch(options, *RUN, "batch=3"), code=1)
    assert "batch: 3: a multiple of the 2 ranks" in output
