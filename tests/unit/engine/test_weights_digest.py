"""The name of a checkpoint: everything that decides over frames is in it, nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flashtalk.engine import Pipeline, open_checkpoint, weights_digest
from flashtalk.models.checkpoint import find_checkpoint
from tests.fakes.weights import MICRO, micro_pipeline, write_own, write_published_layout


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return micro_pipeline()


@pytest.fixture(scope="module")
def own(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own(pipeline, tmp_path_factory.mktemp("own") / "tiny")


def digest(folder: Path) -> str:
    return weights_digest(find_checkpoint(folder))


def test_place_and_card_do_not_matter(own: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(own, tmp_path / "renamed"))
    (elsewhere / "README.md").write_text("a card")
    (elsewhere / "dit" / "notes.txt").write_text("a note")
    assert digest(elsewhere) == digest(own)
    assert len(digest(own)) == 64


@pytest.mark.parametrize(
    "file",
    [
        "dit/config.json",
        "dit/model.safetensors",
        "vae/model.safetensors",
        "wav2vec2/model.safetensors",
        "clip/model.safetensors",
        "umt5/tokenizer.json",
        "pipeline.json",
    ],
)
def test_one_changed_byte_anywhere_changes_the_name(own: Path, tmp_path: Path, file: str) -> None:
    folder = Path(shutil.copytree(own, tmp_path / "tiny"))
    path = folder / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert digest(folder) != digest(own)


def test_a_published_folder_has_a_name_too(pipeline: Pipeline, tmp_path: Path) -> None:
    folder = write_published_layout(pipeline, tmp_path / "14b")
    before = digest(folder)
    (folder / "README.md").write_text("a card")
    assert digest(folder) == before
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"note": 1}))
    assert digest(folder) != before


def test_stages_load_one_by_one(own: Path, pipeline: Pipeline) -> None:
    """A worker of one stage never reads the weights of another."""
    for stage, removed in (
        ("load_audio", "dit/model.safetensors"),
        ("load_denoiser", "vae/model.safetensors"),
        ("load_codec", "wav2vec2/model.safetensors"),
    ):
        checkpoint = open_checkpoint("tiny", own, device="cpu")
        hidden = own / removed
        aside = hidden.rename(hidden.with_suffix(".aside"))
        try:
            assert getattr(checkpoint, stage)() is not None
        finally:
            aside.rename(hidden)
    assert open_checkpoint("tiny", own, device="cpu").sizes == MICRO
