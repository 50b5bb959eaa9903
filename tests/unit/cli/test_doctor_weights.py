"""`flashtalk doctor` says what is in a folder of weights, what overlays change, and the digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from flashtalk.cli.main import main
from flashtalk.engine import (
    Architecture,
    FlashTalkPipeline,
    flashtalk_checkpoint,
    open_checkpoint,
    weights_digest,
)
from flashtalk.overlays import Overlay
from tests.fakes.overlays import is_audio, write_lora, write_wan
from tests.fakes.weights import MICRO, micro_pipeline, write_own

Wan = tuple[Path, Path]


@pytest.fixture(scope="module")
def pipeline() -> FlashTalkPipeline:
    return micro_pipeline()


@pytest.fixture(scope="module")
def own(pipeline: FlashTalkPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own(pipeline, tmp_path_factory.mktemp("own") / "tiny")


@pytest.fixture(scope="module")
def wan(pipeline: FlashTalkPipeline, tmp_path_factory: pytest.TempPathFactory) -> Wan:
    return write_wan(pipeline, tmp_path_factory.mktemp("weights"))


def doctor_json(capsys: pytest.CaptureFixture[str], *options: object) -> dict[str, Any]:
    assert main(["doctor", "--json", *map(str, options)]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def refused(capsys: pytest.CaptureFixture[str], *options: object) -> str:
    """The one line of an error."""
    assert main(["doctor", *map(str, options)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line


def test_parts_overlays_and_digest_are_shown(
    own: Path, pipeline: FlashTalkPipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = pipeline.denoiser.network.state_dict()
    lora = write_lora(tmp_path / "lora.safetensors", network)
    changed = tmp_path / "tensors.safetensors"
    save_file({"head.head.bias": network["head.head.bias"] + 1}, changed)
    options = ("--weights", own, "--overlay", f"{lora}:0.8", "--overlay", changed)
    report = doctor_json(capsys, *options)
    sizes = {part["part"]: part["size_bytes"] for part in report["parts"]}
    assert sizes.keys() == {"dit", "vae", "wav2vec2", "clip", "umt5", "settings"}
    assert sizes["dit"] == sum(file.stat().st_size for file in (own / "dit").iterdir())
    assert {Path(part["path"]).parent for part in report["parts"]} == {own}
    assert report["overlays"] == [
        {
            "path": str(lora),
            "kind": "LoRA, rank 2",
            "strength": 0.8,
            "tensors_changed": 4,
            "tensors_added": 0,
        },
        {
            "path": str(changed),
            "kind": "tensors",
            "strength": 1.0,
            "tensors_changed": 1,
            "tensors_added": 0,
        },
    ]
    overlays = (Overlay(lora, 0.8), Overlay(changed))
    pieces = open_checkpoint("tiny", own, device="cpu", overlays=overlays).pieces
    assert report["weights_digest"] == weights_digest(pieces)
    assert main(["doctor", *map(str, options)]) == 0
    shown = capsys.readouterr().out
    assert f"weights digest: {report['weights_digest']}" in shown
    assert all(text in shown for text in ("wav2vec2", "KiB", "LoRA, rank 2", "0.8"))


def test_the_shipped_weights_are_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    report = doctor_json(capsys, "--preset", "tiny")
    assert report["overlays"] == []
    assert report["weights_digest"] == weights_digest(open_checkpoint(device="cpu").pieces)


def test_wan_with_infinitetalk_is_whole(
    wan: Wan,
    pipeline: FlashTalkPipeline,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Architecture, "flashtalk_14b", lambda: MICRO)
    base, overlay = wan
    options = ("--preset", "flashtalk-14b", "--weights", base)
    report = doctor_json(capsys, *options, "--overlay", overlay)
    added = sum(map(is_audio, pipeline.denoiser.network.state_dict()))
    (found,) = report["overlays"]
    assert (found["tensors_changed"], found["tensors_added"]) == (0, added)
    parts = {part["part"]: Path(part["path"]).name for part in report["parts"]}
    assert parts["dit"] == "Wan2.1"
    assert parts["wav2vec2"] == "chinese-wav2vec2-base"
    line = refused(capsys, *options)
    assert f"{added} missing" in line
    assert "An audio overlay is missing" in line


def test_wrong_folders_and_overlays_are_one_line(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no such folder" in refused(capsys, "--weights", tmp_path / "absent")
    assert "missing" in refused(capsys, "--weights", tmp_path)
    assert "flashtalk-14b needs the folder" in refused(capsys, "--preset", "flashtalk-14b")
    assert "preset: huge" in refused(capsys, "--preset", "huge")
    assert "no such file" in refused(capsys, "--overlay", tmp_path / "absent.pt")
    path = tmp_path / "a.safetensors"
    save_file({"vocal.weight": torch.ones(1)}, path)
    assert "vocal.weight" in refused(capsys, "--weights", own, "--overlay", path)


def test_weights_of_another_shape_are_found_without_loading_them(
    own: Path, pipeline: FlashTalkPipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = flashtalk_checkpoint(open_checkpoint("tiny", own, device="cpu"))
    assert all(tensor.is_meta for tensor in checkpoint.bare_network().state_dict().values())
    path = tmp_path / "a.safetensors"
    bias = pipeline.denoiser.network.state_dict()["head.head.bias"]
    save_file({"head.head.bias": bias[:-1].clone()}, path)
    assert "1 misshapen (head.head.bias" in refused(capsys, "--weights", own, "--overlay", path)
