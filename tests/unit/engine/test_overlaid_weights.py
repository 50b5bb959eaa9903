"""A folder of weights with overlays: what is loaded, what is refused, and the digest of both."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from flashtalk.engine import FlashTalkPipeline, load_pipeline, open_checkpoint, weights_digest
from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint import load_state
from flashtalk.models.checkpoint.flashhead_layout import NETWORK_FOLDERS, Variant
from flashtalk.overlays import Overlay
from tests.fakes.flashhead import PRESETS, micro_flashhead, write_flashhead
from tests.fakes.overlays import changed_copy, is_audio, write_lora, write_wan
from tests.fakes.weights import MICRO, micro_pipeline, write_own

PRESET = "flashtalk-14b"


@pytest.fixture(scope="module")
def pipeline() -> FlashTalkPipeline:
    return micro_pipeline()


@pytest.fixture(scope="module")
def wan(pipeline: FlashTalkPipeline, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder without audio layers, and the file that has them."""
    return write_wan(pipeline, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def own(pipeline: FlashTalkPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own(pipeline, tmp_path_factory.mktemp("own") / "tiny")


def load(folder: Path, *overlays: Overlay) -> FlashTalkPipeline:
    loaded = load_pipeline(
        PRESET, folder, device="cpu", dtype="float32", architecture=MICRO, overlays=overlays
    )
    assert isinstance(loaded, FlashTalkPipeline)
    return loaded


def digest(folder: Path, *overlays: Overlay) -> str:
    return weights_digest(open_checkpoint("tiny", folder, device="cpu", overlays=overlays).pieces)


def test_a_base_with_its_overlay_is_the_whole_model(
    wan: tuple[Path, Path], pipeline: FlashTalkPipeline
) -> None:
    base, overlay = wan
    loaded = load(base, Overlay(overlay)).denoiser.network.state_dict()
    for name, tensor in pipeline.denoiser.network.state_dict().items():
        assert torch.equal(loaded[name], tensor), name


def test_without_the_overlay_the_missing_tensors_are_named_with_a_hint(
    wan: tuple[Path, Path], pipeline: FlashTalkPipeline
) -> None:
    lacking = sum(map(is_audio, pipeline.denoiser.network.state_dict()))
    with pytest.raises(WeightsError) as caught:
        load(wan[0])
    assert f"{lacking} missing (" in str(caught.value)
    assert "An audio overlay is missing" in str(caught.value)


def test_half_an_overlay_is_no_missing_one(wan: tuple[Path, Path], tmp_path: Path) -> None:
    base, overlay = wan
    state = {n: t for n, t in load_state(overlay).items() if n.startswith("audio_proj.")}
    torch.save(state, tmp_path / "half.pt")
    with pytest.raises(WeightsError, match="missing") as caught:
        load(base, Overlay(tmp_path / "half.pt"))
    assert "overlay is missing" not in str(caught.value)


def test_overlays_change_the_network_alone(
    own: Path, pipeline: FlashTalkPipeline, tmp_path: Path
) -> None:
    network = pipeline.denoiser.network.state_dict()
    lora = Overlay(write_lora(tmp_path / "lora.safetensors", network, "kohya"), 0.5)
    checkpoint = open_checkpoint("tiny", own, device="cpu", overlays=(lora,))
    loaded = checkpoint.load_denoiser().network.state_dict()
    merged = checkpoint.transformer_state()
    changed = {name for name in network if not torch.equal(loaded[name], network[name])}
    assert changed == {n for n in network if n.endswith("attn.q.weight")}
    assert all(torch.equal(loaded[name], merged[name]) for name in network)
    for name, tensor in checkpoint.load_codec().vae.state_dict().items():
        assert torch.equal(tensor, pipeline.codec.vae.state_dict()[name])


def test_the_digest_covers_file_strength_and_order(
    own: Path, pipeline: FlashTalkPipeline, tmp_path: Path
) -> None:
    network = pipeline.denoiser.network.state_dict()
    one = write_lora(tmp_path / "one.safetensors", network)
    two = changed_copy(one, tmp_path / "two.safetensors", lambda _, tensor: tensor + 1)
    variants = [
        (),
        (Overlay(one),),
        (Overlay(one, 0.8),),
        (Overlay(two),),
        (Overlay(one), Overlay(two)),
        (Overlay(two), Overlay(one)),
        (Overlay(one), Overlay(two, 0.5)),
        (Overlay(one, 0.5), Overlay(two)),
        (Overlay(one), Overlay(one)),
    ]
    digests = [digest(own, *overlays) for overlays in variants]
    assert len(set(digests)) == len(digests)
    assert digests == [digest(own, *overlays) for overlays in variants]
    # Not the folder that it is in, but each byte of it.
    moved = tmp_path / "elsewhere" / one.name
    moved.parent.mkdir()
    moved.write_bytes(one.read_bytes())
    assert digest(own, Overlay(moved)) == digests[1]
    changed_copy(
        one, moved, lambda name, tensor: tensor * (1 + 1e-6) if "lora_A" in name else tensor
    )
    assert digest(own, Overlay(moved)) != digests[1]


@pytest.mark.parametrize("variant", ["pro", "lite"])
def test_another_kind_of_preset_has_overlays_too(variant: Variant, tmp_path: Path) -> None:
    """A whole file with its unused tensors, and a LoRA on top of it."""
    made = micro_flashhead(variant)
    folder = write_flashhead(made, tmp_path / "flashhead", variant)
    network = made.denoiser.network.state_dict()
    (source,) = (folder / NETWORK_FOLDERS[variant]).glob("*.safetensors")
    whole = Overlay(changed_copy(source, tmp_path / "whole.safetensors", lambda _, t: t + 1))
    lora = Overlay(write_lora(tmp_path / "lora.safetensors", network, "diffusers"), 0.5)
    names = (PRESETS[variant], folder)
    checkpoints = [
        open_checkpoint(*names, device="cpu", dtype="float32", overlays=overlays)
        for overlays in ((), (whole,), (whole, lora))
    ]
    assert len({weights_digest(checkpoint.pieces) for checkpoint in checkpoints}) == 3
    plain, replaced, changed = (c.load_denoiser().network.state_dict() for c in checkpoints)
    for name, tensor in network.items():
        assert torch.equal(plain[name], tensor)
        assert torch.equal(replaced[name], tensor + 1)
        assert torch.equal(changed[name], tensor + 1) is not name.endswith("attn.q.weight")


def test_bad_overlays_are_refused_when_the_folder_is_opened(own: Path, tmp_path: Path) -> None:
    """By every worker, also those that do not load the transformer."""
    multi = tmp_path / "multi" / "infinitetalk.safetensors"
    multi.parent.mkdir()
    multi.write_bytes(b"")
    for path, reason in ((multi, "speaker masks"), (tmp_path / "absent.pt", "no such file")):
        with pytest.raises(InputError, match=reason):
            open_checkpoint("tiny", own, device="cpu", overlays=(Overlay(path),))
    with pytest.raises(InputError, match="strength"):
        open_checkpoint("tiny", own, device="cpu", overlays=(Overlay(multi, 0.0),))
