"""A shipped folder: half precision, complete, and whatever else lay there still does."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from flashtalk.errors import InputError
from flashtalk.models.checkpoint import OWN_FOLDERS
from training.ship import halve_folder, main


def tensors(seed: int) -> dict[str, torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return {
        "weight": torch.randn(4, 6, generator=draws),
        "count": torch.arange(3),
    }


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    for seed, role in enumerate(OWN_FOLDERS):
        (folder / role).mkdir(parents=True)
        save_file(tensors(seed), folder / role / "model.safetensors")
        (folder / role / "config.json").write_text("{}")
    (folder / "umt5" / "tokenizer.json").write_text("{}")
    (folder / "pipeline.json").write_text(json.dumps({"steps": 4}))
    return folder


def test_every_piece_is_halved_and_the_card_stays(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "README.md").write_text("card")
    assert main([str(weights), str(out), "--teacher", str(weights / "vae")]) == 0
    assert {folder.name for folder in out.iterdir() if folder.is_dir()} == {*OWN_FOLDERS, "teacher"}
    for seed, role in enumerate(OWN_FOLDERS):
        shipped, whole = load_file(out / role / "model.safetensors"), tensors(seed)
        assert shipped["weight"].dtype == torch.float16
        torch.testing.assert_close(shipped["weight"].float(), whole["weight"], rtol=5e-4, atol=1e-7)
        assert torch.equal(shipped["count"], whole["count"])
        assert not list((out / role).glob("*.partial"))
    assert (out / "umt5" / "tokenizer.json").is_file()
    assert json.loads((out / "pipeline.json").read_text()) == {"steps": 4}
    assert (out / "README.md").read_text() == "card"


def test_what_float16_does_not_hold_is_refused_and_nothing_is_written(
    tmp_path: Path, weights: Path
) -> None:
    save_file({"big": torch.tensor([1e5])}, weights / "dit" / "model.safetensors")
    with pytest.raises(InputError, match=r"model.safetensors: big.*65504"):
        halve_folder(weights / "dit", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("out", ["weights", "weights/dit"])
def test_a_folder_is_not_shipped_onto_itself(
    out: str, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(weights), str(tmp_path / out), "--teacher", str(weights / "dit")]) == 2
    assert "must not be a source folder" in capsys.readouterr().err


def test_an_incomplete_folder_is_named(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (weights / "clip" / "model.safetensors").unlink()
    assert main([str(weights), str(tmp_path / "out")]) == 2
    assert "clip" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
