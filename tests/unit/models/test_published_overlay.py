"""The published overlay and LoRA files for the published sizes, on the meta device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from flashtalk.errors import WeightsError
from flashtalk.models.checkpoint import check_state, merge, on_meta
from flashtalk.models.dit import DiT, DiTConfig
from flashtalk.overlays import Overlay
from tests.fakes.overlays import NAMINGS, is_audio


def manifest(goldens: Path, name: str) -> dict[str, list[int]]:
    tensors = json.loads((goldens / name).read_text())["tensors"]
    return {each: facts["shape"] for each, facts in tensors.items()}


def test_the_published_overlay_is_what_wan_lacks(repo_root: Path) -> None:
    """Names and shapes of the 14B network, without memory: Wan2.1's config is read as it is."""
    goldens = repo_root / "tests/goldens"
    audio = manifest(goldens, "manifest_infinitetalk_audio.json")
    whole = manifest(goldens, "manifest_dit_14b.json")
    config = DiTConfig.from_dict(
        {
            "_class_name": "WanModel",
            "_diffusers_version": "0.30.0",
            "dim": 5120,
            "eps": 1e-06,
            "ffn_dim": 13824,
            "freq_dim": 256,
            "in_dim": 36,
            "model_type": "i2v",
            "num_heads": 40,
            "num_layers": 40,
            "out_dim": 16,
            "text_len": 512,
        }
    )
    assert config == DiTConfig.flashtalk_14b()
    network = on_meta(lambda: DiT(config))
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes == whole
    assert len(audio) == 330
    assert audio.items() <= shapes.items()
    assert audio.keys() == {name for name in shapes if is_audio(name)}
    base = {n: t for n, t in network.state_dict().items() if n not in audio}
    assert len(base) == 1303
    with pytest.raises(WeightsError, match="330 missing"):
        check_state(network, base)
    added = {name: torch.empty(shape, device="meta") for name, shape in audio.items()}
    found = merge(base, [(Overlay(Path("infinitetalk.safetensors")), added)])
    check_state(network, found.state)
    assert (found.effects[0].changed, found.effects[0].added) == (0, 330)


def test_a_lora_of_the_published_network_finds_its_layers(repo_root: Path) -> None:
    """In every naming scheme, each layer of a block is itself."""
    whole = manifest(repo_root / "tests/goldens", "manifest_dit_14b.json")
    state = {name: torch.empty(shape, device="meta") for name, shape in whole.items()}
    linear = {n.removesuffix(".weight"): tuple(s) for n, s in whole.items() if len(s) == 2}
    layers = {layer: shape for layer, shape in linear.items() if layer.startswith("blocks.17.")}
    assert len(layers) == 15
    for naming in NAMINGS.values():
        tensors = {}
        for layer, (out, wide) in layers.items():
            tensors[naming(layer, "down")] = torch.ones(1, wide)
            tensors[naming(layer, "up")] = torch.ones(out, 1)
        found = merge(state, [(Overlay(Path("lora.safetensors")), tensors)])
        assert found.effects[0].changed == len(layers)
