"""``python -m training.evaluate`` from weights on disk to the written report."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from flashtalk.models.checkpoint import save_config
from flashtalk.models.vae.config import VAEConfig
from flashtalk.models.vae.model import VideoVAE
from training.evaluate.__main__ import main
from training.evaluate.summary import TRUTH, VAE


@pytest.mark.parametrize("subfolder", ["", "vae"])
def test_a_random_vae_is_judged_as_one(
    subfolder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.manual_seed(0)
    folder, out = tmp_path / "model" / subfolder, tmp_path / "out"
    folder.mkdir(parents=True)
    vae = VideoVAE(VAEConfig.tiny())
    save_file(
        {k: v.contiguous() for k, v in vae.state_dict().items()}, folder / "model.safetensors"
    )
    save_config(vae.config, folder)
    command = [
        "evaluate",
        "--weights",
        str(tmp_path / "model"),
        "--vae-only",
        "--quick",
        "--short",
        "2",
        "--short-seconds",
        "2",
        "--out",
        str(out),
        "--cache",
        str(tmp_path / "cache"),
    ]
    monkeypatch.setattr(sys, "argv", command)
    assert main() == 0
    report = json.loads((out / "report.json").read_text())
    rows = report["tables"]["Short clips"]
    assert set(rows) == {TRUTH, VAE}
    assert rows[TRUTH]["lip_corr"] > 0.95
    assert rows[VAE]["psnr_db"] < 32
    verdicts = {target["name"]: target["met"] for target in report["targets"]}
    assert verdicts == {"VAE PSNR, whole, dB": False, "VAE PSNR, mouth, dB": False}
    assert (out / "sheet-0.png").exists()
    assert (out / "lips-0.png").exists()
    assert not list(out.glob("*.gif"))
    assert "Targets" in capsys.readouterr().out
