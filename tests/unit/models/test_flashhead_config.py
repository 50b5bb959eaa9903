"""FlashHead's configuration, its checkpoint folder, and strict loading."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint import build, load_state, save_config
from flashtalk.models.dit import DiTConfig
from flashtalk.models.flashhead import FlashHead, FlashHeadConfig
from flashtalk.models.flashhead.weights import (
    UNUSED,
    WEIGHTS_STEM,
    convert,
    load_config,
)
from tests.fakes.golden_models import (
    FLASHHEAD_GOLDENS,
    golden_flashhead_config,
    golden_flashhead_state,
)

PRESETS = {"pro": FlashHeadConfig.pro(), "lite": FlashHeadConfig.lite()}
TINY = {name: golden_flashhead_config(name) for name in PRESETS}


def published_config(name: str) -> dict[str, Any]:
    manifest = json.loads((FLASHHEAD_GOLDENS / f"manifest_flashhead_{name}.json").read_text())
    values: dict[str, Any] = manifest["notes"]["registered_config"]
    return values


@pytest.mark.parametrize("name", PRESETS)
def test_the_published_config_is_the_preset(name: str) -> None:
    published = published_config(name)
    assert FlashHeadConfig.from_dict(published) == PRESETS[name]
    del published["_diffusers_version"]
    assert PRESETS[name].to_dict() == published


@pytest.mark.parametrize("config", [*PRESETS.values(), *TINY.values()])
@pytest.mark.parametrize("switch", [True, False])
def test_json_round_trip(config: FlashHeadConfig, switch: bool, tmp_path: Path) -> None:
    written = dataclasses.replace(config, bfloat16_timestep=switch)
    save_config(written, tmp_path)
    assert load_config(tmp_path) == written


@pytest.mark.parametrize("name", PRESETS)
def test_constants_of_speech_are_those_of_the_published_code(name: str) -> None:
    manifest = json.loads((FLASHHEAD_GOLDENS / f"manifest_flashhead_{name}.json").read_text())
    constants = manifest["notes"]["constants_of_the_code"]
    config = PRESETS[name]
    assert constants.pop("norm_output_audio") is True  # the manifest has the norm's weights
    assert constants.pop("audio_output_dim") == config.output_dim
    assert constants.pop("audio_entries_per_later_latent") == config.group_window
    for field, value in constants.items():
        assert getattr(config, field) == value, field


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("has_image_input", True, "has_image_input"),
        ("_class_name", "WanModel", "_class_name"),
        ("in_dim", 36, "in_dim"),
        ("num_heads", 7, "dim"),
        ("dim", "wide", "dim"),
        ("num_layers", True, "num_layers"),
        ("num_layers", 0, "num_layers"),
        ("freq_dim", 255, "freq_dim"),
        ("eps", "1e-6", "eps"),
        ("eps", 0, "eps"),
        ("eps", float("nan"), "eps"),
        ("patch_size", [2, 2, 2], "patch_size"),
        ("patch_size", [1, 2, 1], "patch_size"),
        ("patch_size", [1, 2], "patch_size"),
        ("patch_size", 2, "patch_size"),
        ("patch_size", [1, 0, 0], "patch_size"),
        ("vae_stride", [1, 8, 8], "vae_stride"),
        ("vae_stride", [4, 8, 16], "vae_stride"),
        ("vae_stride", [4, 8, 8.0], "vae_stride"),
        ("audio_window", 4, "audio_window"),
        ("bfloat16_timestep", 1, "bfloat16_timestep"),
        ("text_len", 512, "text_len: 512: one of"),
    ],
)
def test_a_config_that_contradicts_the_class_is_refused(
    name: str, value: object, field: str
) -> None:
    with pytest.raises(InputError, match=f"^{field}"):
        FlashHeadConfig.from_dict(published_config("pro") | {name: value})


@pytest.mark.parametrize("name", ["dim", "ffn_dim", "num_heads", "num_layers", "in_dim", "out_dim"])
def test_a_config_without_a_size_is_refused(name: str) -> None:
    values = published_config("lite")
    del values[name]
    with pytest.raises(InputError, match=f"^{name}: missing: required"):
        FlashHeadConfig.from_dict(values)


@pytest.mark.parametrize("name", ["patch_size", "vae_stride"])
def test_the_form_of_latents_is_never_assumed(name: str) -> None:
    values = published_config("lite")
    del values[name]
    with pytest.raises(InputError, match=f"^{name}: missing: required"):
        FlashHeadConfig.from_dict(values)


@pytest.mark.parametrize("text", [None, "{", "[]", '{"dim": 0}'])
def test_an_unreadable_config_is_a_weights_error(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_config(tmp_path)


def test_the_folder_of_the_other_transformer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(DiTConfig.flashtalk_14b().to_dict()))
    with pytest.raises(WeightsError, match=r"config\.json: model_type"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("name", "latents"), [("pro", {1: 1, 5: 2, 33: 9}), ("lite", {1: 1, 9: 2, 33: 5})]
)
def test_video_frames_to_latent_frames(name: str, latents: dict[int, int]) -> None:
    config = PRESETS[name]
    assert {frames: config.latent_frames(frames) for frames in latents} == latents
    for frames in (0, 2, 32):
        with pytest.raises(InputError, match="frames"):
            config.latent_frames(frames)


def write_folder(folder: Path, config: FlashHeadConfig, state: dict[str, Tensor]) -> None:
    save_config(config, folder)
    save_file(state, folder / f"{WEIGHTS_STEM}.safetensors")


def loaded(folder: Path) -> FlashHead:
    config = load_config(folder)
    return build(lambda: FlashHead(config), convert(load_state(folder)), source=folder)


@pytest.mark.parametrize("name", PRESETS)
def test_a_folder_loads_with_and_without_the_unused_tensors(name: str, tmp_path: Path) -> None:
    state = golden_flashhead_state(name)
    assert state.keys() >= UNUSED
    assert len(UNUSED) == 12
    for index, given in enumerate((state, convert(state))):
        folder = tmp_path / str(index)
        folder.mkdir()
        write_folder(folder, TINY[name], given)
        own = loaded(folder).state_dict()
        assert own.keys() == state.keys() - UNUSED
        assert all(torch.equal(own[n], state[n]) for n in own)


def test_every_difference_of_a_file_is_in_one_error(tmp_path: Path) -> None:
    state = golden_flashhead_state("pro")
    del state["blocks.1.cross_attn.norm_k.weight"]
    state["blocks.0.norm3.bias"] = torch.zeros(3)
    state["text_embedding.1.weight"] = torch.zeros(3)  # beside two that are dropped
    state["audio_emb.proj.2.weight"] = torch.zeros(3)
    write_folder(tmp_path, TINY["pro"], state)
    with pytest.raises(WeightsError) as refused:
        loaded(tmp_path)
    said = str(refused.value)
    assert "1 missing (blocks.1.cross_attn.norm_k.weight)" in said
    assert "1 misshapen (blocks.0.norm3.bias [3] instead of [64])" in said
    assert "2 unexpected" in said
    for name in ("text_embedding.1.weight", "audio_emb.proj.2.weight"):
        assert name in said


def test_the_weights_of_the_other_variant_differ_in_four_shapes(tmp_path: Path) -> None:
    with torch.device("meta"):
        networks = {name: FlashHead(config) for name, config in PRESETS.items()}
    with pytest.raises(WeightsError) as refused:
        build(lambda: networks["pro"], networks["lite"].state_dict())
    said = str(refused.value)
    assert "4 misshapen" in said
    assert "missing" not in said
    assert "unexpected" not in said
    for name in (
        "patch_embedding.weight",
        "head.head.weight",
        "head.head.bias",
        "audio_proj.proj1_vf.weight",
    ):
        assert name in said
