"""Every recipe runs from the command line at toy size, resumes, and exports what loads again."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.unit.training.tiny_split import render_split
from training.core.checkpoint import FILE_NAME
from training.core.config import Gate
from training.recipes import RECIPES
from training.recipes.registry import find_recipe
from training.train import EXIT_GATE, EXIT_INPUT, main


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthtalk")
    for split in ("train", "val"):
        render_split(folder, split)
    return folder


def train(recipe: str, data_dir: Path, run_dir: Path, *overrides: str) -> int:
    return main(
        ["--recipe", recipe, "--smoke", "--run-dir", str(run_dir), "--data", str(data_dir),
         "--weights", str(run_dir.parent / "weights"), "trainer.threads=1", *overrides]
    )  # fmt: skip


def test_a_run_cut_short_and_resumed_exports_the_same_vae(data_dir: Path, tmp_path: Path) -> None:
    assert train("tiny_vae", data_dir, tmp_path / "a/run", "checkpoint_every_steps=1") == 0
    whole = load_file(tmp_path / "a/weights/vae/model.safetensors")
    # The same schedule, but killed: the first run has time for one step and no more.
    assert train("tiny_vae", data_dir, tmp_path / "b/run", "minutes=1e-9") == 0
    assert not (tmp_path / "b/weights").exists()
    assert torch.load(tmp_path / "b/run" / FILE_NAME, weights_only=True)["step"] < 3
    assert train("tiny_vae", data_dir, tmp_path / "b/run") == 0
    resumed = load_file(tmp_path / "b/weights/vae/model.safetensors")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_run_leaves_pictures_metrics_and_its_config(data_dir: Path, tmp_path: Path) -> None:
    assert train("tiny_vae", data_dir, tmp_path / "run", "steps=1", "kl=1e-3") == 0
    run_dir = tmp_path / "run"
    for name in ("reconstruction.png", "drift.png", "tensorboard"):
        assert (run_dir / name).exists()
    metrics = json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])
    assert metrics["step"] == 1
    assert metrics["psnr_db"] > 10
    assert json.loads((run_dir / "config.json").read_text())["kl"] == 1e-3


def test_help_lists_every_recipe_and_list_every_field() -> None:
    def output(*arguments: str) -> str:
        command = [sys.executable, "-m", "training.train", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    listing = output("--help")
    for recipe in RECIPES:
        assert recipe.name in listing
        assert recipe.summary in listing
    assert "trainer.lr" in output("--recipe", "tiny_vae", "--list")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "tiny_vea"], "one of tiny_vae"),
        (["--recipe", "tiny_vae", "lrr=1"], "did you mean trainer.lr"),
        (["--recipe", "tiny_vae", "steps=many"], "whole number"),
        (["--recipe", "tiny_vae", "--minutes", "0"], "must be > 0"),
        (["--recipe", "tiny_vae", "schedule_by=time"], "minutes"),
        (["--recipe", "tiny_vae", "--data", "nowhere"], "rendered split"),
    ],
)
def test_bad_arguments_end_with_one_line_that_names_them(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--run-dir", str(tmp_path / "run")]) == EXIT_INPUT
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_run_that_does_not_learn_ends_with_its_own_exit_code(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = find_recipe("tiny_vae", RECIPES)
    blind = dataclasses.replace(recipe.smoke().trainer, gates=(Gate(1, "psnr_db", 99.0),))
    smoke = dataclasses.replace(recipe.smoke(), trainer=blind)  # type: ignore[type-var]
    gated = dataclasses.replace(recipe, smoke=lambda: smoke)
    monkeypatch.setattr("training.train.RECIPES", (gated,))
    code = train("tiny_vae", data_dir, tmp_path / "run", "evaluate_every_steps=1")
    assert code == EXIT_GATE
