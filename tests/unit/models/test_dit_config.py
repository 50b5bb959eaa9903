"""The transformer's configuration and its checkpoint folder."""

import json
from pathlib import Path

import pytest

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint import save_config
from flashtalk.models.dit import DiTConfig
from flashtalk.models.dit.weights import load_config, weight_files

SINGLE = "diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize("config", [DiTConfig.tiny(), DiTConfig.flashtalk_14b()])
def test_json_round_trip(config: DiTConfig, tmp_path: Path) -> None:
    save_config(config, tmp_path)
    assert load_config(tmp_path) == config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("qk_norm", False),
        ("patch_size", [1, 4, 4]),
        ("model_type", "t2v"),
        ("window_size", [8, 8]),
        ("in_dim", 16),
        ("num_heads", 7),
        ("dim", "wide"),
        ("num_layers", True),
        ("num_layers", 0),
        ("audio_window", 4),
        ("depth", 3),
    ],
)
def test_a_config_that_contradicts_the_class_is_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name if name != "num_heads" else "dim"):
        DiTConfig.from_dict(DiTConfig.tiny().to_dict() | {name: value})


def test_a_config_without_sizes_is_refused() -> None:
    with pytest.raises(InputError, match="dim, ffn_dim, num_heads, num_layers"):
        DiTConfig.from_dict({})


@pytest.mark.parametrize("text", [None, "{", "[]", '{"dim": 0}'])
def test_an_unreadable_config_is_a_weights_error(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_config(tmp_path)


def test_weight_files_of_one_file_and_of_shards(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="neither"):
        weight_files(tmp_path)
    shards = [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = tmp_path / f"{SINGLE}.index.json"
    index.write_text(
        json.dumps({"weight_map": dict(zip("abc", [*shards, shards[0]], strict=True))})
    )
    (tmp_path / shards[0]).touch()
    with pytest.raises(WeightsError, match=f"missing {shards[1]}"):
        weight_files(tmp_path)
    (tmp_path / shards[1]).touch()
    assert [path.name for path in weight_files(tmp_path)] == shards
    index.write_text("{}")
    with pytest.raises(WeightsError, match="not an index"):
        weight_files(tmp_path)
    (tmp_path / SINGLE).touch()
    assert [path.name for path in weight_files(tmp_path)] == [SINGLE]


def test_video_frames_to_latent_frames() -> None:
    config = DiTConfig.tiny()
    assert [config.latent_frames(n) for n in (1, 5, 33)] == [1, 2, 9]
    for frames in (0, 2, 32):
        with pytest.raises(InputError, match="frames"):
            config.latent_frames(frames)
