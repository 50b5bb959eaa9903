"""Toy data and the weights that smoke runs of all recipes leave, made once."""

from pathlib import Path

import pytest

from tests.unit.training.tiny_split import render_split
from training.recipes import RECIPES
from training.train import main


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered splits of two short clips."""
    folder = tmp_path_factory.mktemp("synthtalk")
    for split in ("train", "val"):
        render_split(folder, split)
    return folder


@pytest.fixture(scope="session")
def trained(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights folder after smoke runs of all recipes in order, and warm caches. Read only."""
    runs = tmp_path_factory.mktemp("runs")
    for recipe in RECIPES:
        options = [
            "--recipe", recipe.name, "--smoke", "--run-dir", str(runs / recipe.name),
            "--data", str(data_dir), "--weights", str(runs / "weights"), "trainer.threads=1",
        ]  # fmt: skip
        assert main(options) == 0
    return runs / "weights"
