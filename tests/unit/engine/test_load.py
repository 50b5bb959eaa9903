"""Folders of weights become pipelines, or one error that names what is wrong."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from flashtalk.engine import (
    Architecture,
    ConditionEncoders,
    FlashTalkPipeline,
    Pipeline,
    Sampling,
    load_pipeline,
    random_pipeline,
)
from flashtalk.engine.placement import Placement
from flashtalk.errors import InputError, WeightsError
from flashtalk.models.dit import DiTConfig
from tests.fakes.weights import (
    MICRO,
    MICRO_SAMPLING,
    micro_pipeline,
    write_own,
    write_published_layout,
)


@pytest.fixture(scope="module")
def pipeline() -> FlashTalkPipeline:
    return micro_pipeline()


@pytest.fixture(scope="module")
def own(pipeline: FlashTalkPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own(pipeline, tmp_path_factory.mktemp("own") / "tiny")


def models(pipeline: Pipeline) -> list[nn.Module]:
    encoders = pipeline.encoders
    assert isinstance(encoders, ConditionEncoders)
    network, vae = pipeline.denoiser.network, pipeline.codec.vae
    return [network, encoders.clip, encoders.text, vae, pipeline.audio.model]


def same(left: Pipeline, right: Pipeline) -> bool:
    return all(
        torch.equal(tensor, theirs.state_dict()[name])
        for ours, theirs in zip(models(left), models(right), strict=True)
        for name, tensor in ours.state_dict().items()
    )


def test_our_own_layout_comes_back_with_its_settings(
    pipeline: FlashTalkPipeline, own: Path
) -> None:
    loaded = load_pipeline("tiny", own, device="cpu")
    assert same(loaded, pipeline)
    assert loaded.sampling == MICRO_SAMPLING
    assert all(not model.training for model in models(loaded))


def test_the_published_layout_comes_back(pipeline: FlashTalkPipeline, tmp_path: Path) -> None:
    folder = write_published_layout(pipeline, tmp_path / "14b")
    loaded = load_pipeline(
        "flashtalk-14b", folder, device="cpu", dtype="float32", architecture=MICRO
    )
    assert same(loaded, pipeline)
    assert loaded.sampling == Sampling()


def test_half_precision_leaves_speech_alone(own: Path) -> None:
    loaded = load_pipeline("tiny", own, device="cpu", dtype="bfloat16")
    assert loaded.denoiser.network.dtype == torch.bfloat16
    assert loaded.audio.model.dtype == torch.float32


def test_given_settings_replace_the_file(own: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(own, tmp_path / "tiny"))
    (folder / "pipeline.json").unlink()
    with pytest.raises(WeightsError, match=r"missing pipeline\.json"):
        load_pipeline("tiny", folder)
    assert load_pipeline("tiny", folder, sampling=MICRO_SAMPLING).sampling == MICRO_SAMPLING


def test_a_missing_piece_is_named(own: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(own, tmp_path / "tiny"))
    (folder / "clip" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="clip"):
        load_pipeline("tiny", folder)


def test_models_that_do_not_fit_each_other_are_named(own: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(own, tmp_path / "tiny"))
    path = folder / "dit" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"audio_channels": 24}))
    with pytest.raises(WeightsError, match="speech width 24 and 16"):
        load_pipeline("tiny", folder)


def test_unknown_names_are_refused(own: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="preset"):
        load_pipeline("huge", own)
    with pytest.raises(InputError, match="weights"):
        load_pipeline("flashtalk-14b")
    with pytest.raises(InputError, match="weights"):
        load_pipeline("tiny", tmp_path / "nowhere")
    with pytest.raises(InputError, match="dtype"):
        load_pipeline("tiny", own, dtype="int3")
    for device in ("tpu9", "cuda:99", "nonsense"):
        with pytest.raises(InputError, match="device"):
            load_pipeline("tiny", own, device=device)


def test_the_large_preset_is_half_precision_unless_asked_otherwise() -> None:
    assert Placement.choose("flashtalk-14b", "cpu").dtype == torch.bfloat16
    assert Placement.choose("tiny", "cpu").dtype == torch.float32
    assert Placement.choose("flashtalk-14b", "cpu", "float32").dtype == torch.float32


def test_the_presets_fit_together() -> None:
    Architecture.tiny()
    sizes = Architecture.flashtalk_14b()
    with pytest.raises(WeightsError, match="image tokens"):
        dataclasses.replace(
            sizes, dit=DiTConfig(dim=64, ffn_dim=64, num_heads=1, num_layers=1, clip_tokens=17)
        )


def test_random_weights_are_named_by_their_seed_and_leave_the_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = micro_pipeline(1), micro_pipeline(1), micro_pipeline(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, again)
    assert not same(first, other)


def test_a_vocabulary_without_room_for_bytes_is_refused() -> None:
    text = dataclasses.replace(MICRO.text, vocab=100)
    with pytest.raises(InputError, match="vocab"):
        random_pipeline(dataclasses.replace(MICRO, text=text))
