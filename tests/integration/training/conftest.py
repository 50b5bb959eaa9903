"""Toy data and the weights that smoke runs of the tiny recipes leave, made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.unit.training.tiny_split import render_split
from training.recipes import RECIPES
from training.train import main

TINY = ("tiny_vae", "tiny_audio", "tiny_identity", "tiny_sft", "tiny_distill")


@pytest.fixture(scope="session", autouse=True)
def plain_float32() -> Iterator[None]:
    """The same arithmetic on every CPU: recipes ask for bfloat16, and get it where it is native."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        yield


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered splits of two short clips."""
    folder = tmp_path_factory.mktemp("synthtalk")
    for split in ("train", "val"):
        render_split(folder, split)
    return folder


@pytest.fixture(scope="session")
def trained(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights folder after smoke runs of the tiny recipes, and warm caches. Read only."""
    runs = tmp_path_factory.mktemp("runs")
    assert [recipe.name for recipe in RECIPES][: len(TINY)] == list(TINY)
    for name in TINY:
        options = [
            "--recipe",
            name,
            "--smoke",
            "--run-dir",
            str(runs / name),
            "--data",
            str(data_dir),
            "--weights",
            str(runs / "weights"),
            "trainer.threads=1",
        ]
        assert main(options) == 0
    return runs / "weights"
