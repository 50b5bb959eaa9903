"""Checkpoint folders: a published one, written at tiny size, is found, read and built."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint import (
    CheckpointLayout,
    build,
    find_checkpoint,
    load_state,
    save_config,
)
from flashtalk.models.clip import ClipConfig, ClipVision
from flashtalk.models.clip import weights as clip_weights
from flashtalk.models.dit import DiT, DiTConfig
from flashtalk.models.dit import weights as dit_weights
from flashtalk.models.umt5 import TextConfig, TextEncoder, load_tokenizer, train_tokenizer
from flashtalk.models.umt5 import weights as umt5_weights
from flashtalk.models.vae import VAEConfig, VideoVAE
from flashtalk.models.vae import weights as vae_weights
from flashtalk.models.wav2vec2 import AudioConfig, Wav2Vec2Features
from flashtalk.models.wav2vec2 import weights as audio_weights
from tests.fakes.published import write_published

PIECES = [
    "config.json",
    "diffusion_pytorch_model-00001-of-00002.safetensors",
    "Wan2.1_VAE.pth",
    "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
    "models_t5_umt5-xxl-enc-bf16.pth",
    "google/umt5-xxl",
    "chinese-wav2vec2-base",
]
OWN_PIECES = [
    *[
        f"{n}/{f}"
        for n in ("dit", "vae", "wav2vec2", "clip", "umt5")
        for f in ("config.json", "model.safetensors")
    ],
    "umt5/tokenizer.json",
]


@pytest.fixture(scope="module")
def models() -> dict[str, nn.Module]:
    return {
        "dit": DiT(DiTConfig.tiny()),
        "vae": VideoVAE(VAEConfig.tiny()),
        "wav2vec2": Wav2Vec2Features(AudioConfig.tiny()),
        "clip": ClipVision(ClipConfig.tiny()),
        "umt5": TextEncoder(TextConfig.tiny()),
    }


@pytest.fixture(scope="module")
def original(models: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("published") / "14b"
    write_published(folder, **models)  # type: ignore[arg-type]
    return folder


@pytest.fixture
def published(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "checkpoints" / "14b"))


@pytest.fixture
def own(models: dict[str, nn.Module], tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    for name, model in models.items():
        (folder / name).mkdir(parents=True)
        save_file(model.state_dict(), folder / name / "model.safetensors")
    save_config(DiTConfig.tiny(), folder / "dit")
    save_config(VAEConfig.tiny(), folder / "vae")
    save_config(AudioConfig.tiny(), folder / "wav2vec2")
    save_config(ClipConfig.tiny(), folder / "clip")
    save_config(TextConfig.tiny(), folder / "umt5")
    train_tokenizer(["A person is talking."], 300, folder / "umt5" / "tokenizer.json")
    return folder


def same(model: nn.Module, state: dict[str, Tensor]) -> bool:
    ours = model.state_dict()
    return ours.keys() == state.keys() and all(torch.equal(ours[n], state[n]) for n in ours)


def test_a_published_folder_loads_as_written(original: Path, models: dict[str, nn.Module]) -> None:
    layout = find_checkpoint(original)
    assert layout.kind == "published"
    dit = build(
        lambda: DiT(dit_weights.load_config(layout.dit)),
        dit_weights.convert(load_state(layout.dit)),
    )
    vae = build(lambda: VideoVAE(VAEConfig.tiny()), vae_weights.convert(load_state(layout.vae)))
    clip = build(
        lambda: ClipVision(ClipConfig.tiny()),
        clip_weights.convert_published(load_state(layout.clip)),
    )
    umt5 = build(
        lambda: TextEncoder(TextConfig.tiny()),
        umt5_weights.convert_published(load_state(layout.umt5)),
    )
    audio_config = audio_weights.load_config(layout.wav2vec2)
    wav2vec2 = build(
        lambda: Wav2Vec2Features(audio_config),
        audio_weights.convert_published(load_state(layout.wav2vec2)),
    )
    built = {"dit": dit, "vae": vae, "wav2vec2": wav2vec2, "clip": clip, "umt5": umt5}
    for name, model in built.items():
        assert same(model, models[name].state_dict()), name
    ids_BN, _ = load_tokenizer(layout.tokenizer, 32).encode(["A person is talking."])
    assert ids_BN.shape == (1, 32)


def test_an_own_folder_is_found(own: Path, models: dict[str, nn.Module]) -> None:
    layout = find_checkpoint(own)
    assert layout.kind == "own"
    for name, model in models.items():
        assert same(model, load_state(getattr(layout, name))), name
    assert load_tokenizer(layout.tokenizer, 32).encode(["hello"])[0].shape == (1, 32)


@pytest.mark.parametrize("piece", PIECES)
def test_a_missing_published_piece_is_named(published: Path, piece: str) -> None:
    remove(published / piece)
    with pytest.raises(WeightsError) as caught:
        find_checkpoint(published)
    assert piece in str(caught.value)


@pytest.mark.parametrize("piece", OWN_PIECES)
def test_a_missing_own_piece_is_named(own: Path, piece: str) -> None:
    remove(own / piece)
    with pytest.raises(WeightsError) as caught:
        find_checkpoint(own)
    assert piece.replace("model.safetensors", "*.safetensors") in str(caught.value)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def test_an_empty_folder_misses_everything(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        find_checkpoint(tmp_path)
    assert all(p in str(caught.value) for p in PIECES if not p.endswith(".safetensors"))


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        find_checkpoint(tmp_path / "absent")


def test_the_speech_encoder_may_be_beside_or_elsewhere(published: Path, tmp_path: Path) -> None:
    beside = published.parent / "chinese-wav2vec2-base"
    (published / "chinese-wav2vec2-base").rename(beside)
    assert find_checkpoint(published).wav2vec2.samefile(beside)
    elsewhere = tmp_path / "speech"
    beside.rename(elsewhere)
    assert find_checkpoint(published, wav2vec2=elsewhere).wav2vec2 == elsewhere
    with pytest.raises(WeightsError, match="chinese-wav2vec2-base"):
        find_checkpoint(published, wav2vec2=tmp_path)


def test_a_tokenizer_of_another_name_is_taken_if_it_is_the_only_one(published: Path) -> None:
    (published / "google" / "umt5-xxl").rename(published / "words")
    assert find_checkpoint(published).tokenizer == published / "words"
    shutil.copytree(published / "words", published / "others")
    with pytest.raises(WeightsError, match="umt5-xxl"):
        find_checkpoint(published)
    chosen: CheckpointLayout = find_checkpoint(published, tokenizer=published / "others")
    assert chosen.tokenizer == published / "others"


@pytest.mark.parametrize("kept", ["spiece.model", "tokenizer_config.json"])
def test_half_a_sentencepiece_tokenizer_is_none(published: Path, kept: str) -> None:
    words = published / "google" / "umt5-xxl"
    (words / "tokenizer.json").unlink()
    (words / kept).write_text("{}")
    with pytest.raises(WeightsError, match=r"spiece\.model with tokenizer_config\.json"):
        find_checkpoint(published)
