"""Two ranks that share weights and batch do what one process does; killed, they go on exactly."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.fakes.fork_server import begin
from tests.integration.training.forked import LIMIT_S, Ranks
from tests.patience import patient, wait_until
from training.core.checkpoint import find_run_checkpoint
from training.train import EXIT_INPUT, main

RUN = ("trainer.threads=1", "schedule.decay=constant", "warmup_ratio=0", "bf16=false")
TORCHRUN = ["--standalone", "--nproc-per-node", "2", "-m", "training.train"]


def arguments(recipe: str, data_dir: Path, weights: Path, run_dir: Path) -> list[str]:
    return [
        "--recipe",
        recipe,
        "--smoke",
        "--run-dir",
        str(run_dir),
        "--data",
        str(data_dir),
        "--weights",
        str(weights),
    ]


def on_two(folder: Path, options: list[str], *overrides: str) -> None:
    ranks = Ranks([*options, *overrides], folder)
    assert ranks.finish() == [0, 0], ranks.output()


def kept(run_dir: Path, recipe: str) -> tuple[int, dict[str, Tensor]]:
    checkpoint = find_run_checkpoint(run_dir, recipe)
    assert checkpoint is not None
    return int(checkpoint.values["step"]), checkpoint.read()


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], atol: float) -> None:
    for name, tensor in expected.items():
        difference = float((found[name] - tensor).abs().max())
        assert difference <= atol + 1e-4 * float(tensor.abs().max()), (name, difference)


@pytest.mark.parametrize(
    ("recipe", "optimizer"),
    [
        ("tiny_sft", "adamw"),
        ("tiny_sft", "muon"),
        ("tiny_distill", "adamw"),
        ("flashtalk_14b_sft", "adamw"),
        ("flashtalk_14b_distill", "adamw"),
    ],
)
def test_two_ranks_do_what_one_does(
    recipe: str, optimizer: str, trained: Path, data_dir: Path, tmp_path: Path
) -> None:
    runs = {}
    for name in ("one", "two"):
        here = tmp_path / name
        shutil.copytree(trained, here / "weights")
        options = arguments(recipe, data_dir, here / "weights", here / "run")
        chosen = f"optimizer.name={optimizer}"
        if name == "one":
            assert main([*options, *RUN, chosen]) == 0
        else:
            on_two(here / "logs", options, *RUN, chosen)
        runs[name] = kept(here / "run", recipe)
    (steps, alone), (same, together) = runs["one"], runs["two"]
    assert steps == same
    assert alone.keys() == together.keys()
    # Muon rounds to bfloat16 on its way, and its iteration makes last bits larger: within three
    # moves of up to 0.03 at most half of one (0.011 of 20 seeds). Half a batch is 0.034 away.
    tolerance = 1e-5 if optimizer == "adamw" else 1.5e-2
    assert_close(together, alone, tolerance)
    exported = sorted(path.name for path in (tmp_path / "two/weights").rglob("*"))
    assert exported == sorted(path.name for path in (tmp_path / "one/weights").rglob("*"))


def test_a_killed_sharded_run_goes_on_exactly_on_any_number_of_ranks(
    trained: Path, data_dir: Path, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for here in (whole, broken):
        shutil.copytree(trained, here / "weights")
    often = ("checkpoint.steps=2", "evaluate.seconds=0")
    options = arguments("tiny_distill", data_dir, broken / "weights", broken / "run")
    # So long that it cannot be over before it is killed; then a few steps are left to do.
    ranks = Ranks([*options, *RUN, *often, "schedule.steps=1000000"], broken / "logs")
    wait_until(
        lambda: (
            find_run_checkpoint(broken / "run", "tiny_distill") is not None or not ranks.both_run()
        ),
        LIMIT_S,
    )
    assert ranks.both_run(), ranks.output()
    ranks.kill()
    cut, _ = kept(broken / "run", "tiny_distill")
    end = cut + 5
    steps = (*often, f"schedule.steps={end}")
    shutil.copytree(broken, tmp_path / "alone")
    on_two(broken / "again", options, *RUN, *steps)
    options = arguments("tiny_distill", data_dir, whole / "weights", whole / "run")
    on_two(whole / "logs", options, *RUN, *steps)
    expected, resumed = kept(whole / "run", "tiny_distill"), kept(broken / "run", "tiny_distill")
    assert expected[0] == resumed[0] == end
    for name, tensor in expected[1].items():
        assert torch.equal(resumed[1][name], tensor), name
    # And one process takes over from two.
    alone = tmp_path / "alone"
    options = arguments("tiny_distill", data_dir, alone / "weights", alone / "run")
    assert main([*options, *RUN, *steps]) == 0
    _, tensors = kept(alone / "run", "tiny_distill")
    assert_close(tensors, expected[1], 1e-5)


def test_what_cannot_be_shared_is_refused(trained: Path, data_dir: Path, tmp_path: Path) -> None:
    for recipe, odd, said in (
        ("tiny_audio", (), "tiny_audio: must run in one process"),
        ("tiny_sft", (*RUN, "batch=3"), "batch: 3: must be a multiple of the 2 ranks"),
    ):
        options = arguments(recipe, data_dir, trained, tmp_path / recipe)
        ranks = Ranks([*options, *odd], tmp_path / "logs" / recipe)
        assert ranks.finish() == [EXIT_INPUT, EXIT_INPUT]
        assert ranks.output().count(said) == 2


def test_torchrun_starts_it(trained: Path, data_dir: Path, tmp_path: Path) -> None:
    """What the other tests take for granted: ranks of torchrun are what ``Ranks`` are."""
    shutil.copytree(trained, tmp_path / "weights")
    options = arguments("tiny_sft", data_dir, tmp_path / "weights", tmp_path / "run")
    given = dict(os.environ) | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # noqa: TID251 - what a shell would hand on
    log = tmp_path / "log"
    launcher = begin("tests.fakes.forked_ranks", [*TORCHRUN, *options, *RUN], log, given)
    launcher.join(patient(LIMIT_S))
    launcher.kill()
    assert launcher.exitcode == 0, log.read_text()
    on_two(
        tmp_path / "logs",
        arguments("tiny_sft", data_dir, tmp_path / "weights", tmp_path / "forked"),
        *RUN,
    )
    (steps, theirs), (same, ours) = (kept(tmp_path / n, "tiny_sft") for n in ("run", "forked"))
    assert steps == same
    assert_close(ours, theirs, 1e-5)
