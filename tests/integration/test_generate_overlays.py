"""``flashtalk generate --overlay``: a folder in the published layout and files merged into it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from flashtalk.cli.main import main
from flashtalk.engine import Architecture
from tests.fakes.overlays import write_lora, write_wan
from tests.fakes.sound_files import tone, wav
from tests.fakes.weights import MICRO, micro_pipeline, write_published_layout


def command(files: Path, weights: Path) -> list[str]:
    """The words for a video of 1.5 s at the smallest size."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(files / "face.png")
    wav(files / "speech.wav", tone(1.5, 16_000)[0])
    options = {
        "image": files / "face.png",
        "audio": files / "speech.wav",
        "out": files / "out.mp4",
        "preset": "flashtalk-14b",
        "weights": weights,
        "size": "32x32",
        "steps": 1,
        "device": "cpu",
        "dtype": "float32",
    }
    return ["generate", *(f"--{name}={value}" for name, value in options.items())]


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


def test_a_base_with_its_overlay_talks_like_the_whole_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the published layout, and with a LoRA differently."""
    monkeypatch.setattr(Architecture, "flashtalk_14b", lambda: MICRO)
    pipeline = micro_pipeline()
    whole = write_published_layout(pipeline, tmp_path / "whole")
    base, audio = write_wan(pipeline, tmp_path / "split")
    lora = write_lora(tmp_path / "lora.safetensors", pipeline.denoiser.network.state_dict())
    assert main(command(tmp_path, base)) == 2
    assert "An audio overlay is missing" in capfd.readouterr().err
    made = []
    for folder, overlays in ((whole, ()), (base, (audio,)), (base, (audio, f"{lora}:0.5"))):
        words = [word for overlay in overlays for word in ("--overlay", str(overlay))]
        assert main([*command(tmp_path, folder), *words]) == 0
        made.append(frames_of(tmp_path / "out.mp4"))
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])
