"""The published LTX VAE's own numbers (tests/goldens/ltx_vae_tiny) and its parameter names."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from flashtalk.models.ltx_vae import LtxVae, LtxVaeConfig
from flashtalk.models.ltx_vae.layers import from_patches, pixel_norm, to_patches
from tests.fakes.golden_models import golden_ltx_vae
from tests.tolerances import PUBLISHED

GOLDENS = Path(__file__).parents[2] / "goldens"
FRAMES = {"enc33": 33, "enc9": 9, "enc1": 1}
# Modules whose outputs were recorded, in the order of the published encoder and decoder.
ENCODER_TAPS = {
    "enc9.tap.conv_in": "encoder.conv_in",
    "enc9.tap.down0": "encoder.down_blocks.0.resnets",
    "enc9.tap.down1": "encoder.down_blocks.0.downsamplers",
    "enc9.tap.down2": "encoder.down_blocks.0.conv_out",
    "enc9.tap.down3": "encoder.down_blocks.1.resnets",
    "enc9.tap.down4": "encoder.down_blocks.1.downsamplers",
    "enc9.tap.down5": "encoder.down_blocks.1.conv_out",
    "enc9.tap.down6": "encoder.down_blocks.2.resnets",
    "enc9.tap.down7": "encoder.down_blocks.2.downsamplers",
    "enc9.tap.down8": "encoder.down_blocks.3.resnets",
    "enc9.tap.down9": "encoder.mid_block",
}
DECODER_TAPS = {
    "dec2.tap.conv_in": "decoder.conv_in",
    "dec2.tap.up0": "decoder.mid_block",
    "dec2.tap.up1": "decoder.up_blocks.0.resnets",
    "dec2.tap.up2": "decoder.up_blocks.1.upsamplers",
    "dec2.tap.up3": "decoder.up_blocks.1.resnets",
    "dec2.tap.up4": "decoder.up_blocks.2.conv_in",
    "dec2.tap.up5": "decoder.up_blocks.2.upsamplers",
    "dec2.tap.up6": "decoder.up_blocks.2.resnets",
    "dec2.tap.up7": "decoder.up_blocks.3.conv_in",
    "dec2.tap.up8": "decoder.up_blocks.3.upsamplers",
    "dec2.tap.up9": "decoder.up_blocks.3.resnets",
}

Golden = dict[str, Tensor]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return load_file(GOLDENS / "ltx_vae_tiny.safetensors")


@pytest.fixture(scope="module")
def vae() -> LtxVae:
    return golden_ltx_vae()


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def video_of(golden: Golden, frames: int) -> Tensor:
    return ((golden["enc33.in_u8"].float() / 255 - 0.5) * 2)[:, :, :frames]


def assert_published(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=PUBLISHED, rtol=0)


@pytest.mark.parametrize("case", FRAMES)
def test_encode_matches_the_published_vae(vae: LtxVae, golden: Golden, case: str) -> None:
    assert_published(vae.encode(video_of(golden, FRAMES[case]))[0], golden[f"{case}.out"])


@pytest.mark.parametrize("case", FRAMES)
def test_moments_match_the_published_vae(vae: LtxVae, golden: Golden, case: str) -> None:
    moments = vae.encode_moments(video_of(golden, FRAMES[case]))
    assert_published(moments.mu, golden[f"{case}.mean"])
    assert_published(moments.logvar, golden[f"{case}.logvar"])


def test_the_moments_give_the_published_draw(vae: LtxVae, golden: Golden) -> None:
    mu, logvar = vae.encode_moments(video_of(golden, 9))
    draw = mu + torch.exp(logvar.clamp(-30, 20) / 2) * golden["enc9.draw_eps"]
    assert_published(vae.normalise(draw)[0], golden["enc9.drawn"])


def test_the_latents_of_a_still_are_equal(vae: LtxVae, golden: Golden) -> None:
    portrait = video_of(golden, 1)
    z = vae.encode(portrait.expand(-1, -1, 33, -1, -1))
    assert_published(z[0], golden["still.out"])
    assert_published(z, vae.encode(portrait).expand_as(z))


@pytest.mark.parametrize("case", ["dec5", "dec2", "dec1"])
def test_decode_matches_the_published_vae(vae: LtxVae, golden: Golden, case: str) -> None:
    assert_published(vae.decode(golden[f"{case}.in"][None]), golden[f"{case}.out"])


def test_every_block_matches_the_published_one(vae: LtxVae, golden: Golden) -> None:
    taps = ENCODER_TAPS | DECODER_TAPS
    assert taps.keys() == {name for name in golden if ".tap." in name} - {"enc1.tap.patchified"}
    found: Golden = {}

    def keep(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            found[name] = output.clone()  # the next block may add to it in place

        return vae.get_submodule(taps[name]).register_forward_hook(hook)

    handles = [keep(name) for name in taps]
    vae.encode(video_of(golden, 9))
    vae.decode(golden["dec2.in"][None])
    for handle in handles:
        handle.remove()
    errors = {name: float((found[name] - golden[name]).abs().max()) for name in taps}
    assert {name: error for name, error in errors.items() if not error <= PUBLISHED} == {}


def test_patches_match_the_published_ones(golden: Golden) -> None:
    video = video_of(golden, 1)
    assert_published(to_patches(video), golden["enc1.tap.patchified"])
    assert torch.equal(from_patches(to_patches(video)), video)


def test_the_small_numbers_of_the_norms_match(vae: LtxVae, golden: Golden) -> None:
    """Other constants than the published ones in the norms are visible only here."""
    x = golden["aux.small.in"]
    normed = pixel_norm(0.1 * x, activate=False)
    assert_published(normed, golden["aux.small.pixel_norm_of_tenth"])
    block = vae.get_submodule("encoder.down_blocks.0.conv_out")
    assert_published(block(x), golden["aux.small.width_block"])


def test_names_and_shapes_of_the_published_preset_equal_the_manifest() -> None:
    manifest = json.loads((GOLDENS / "manifest_ltx_vae.json").read_text())
    config = LtxVaeConfig.from_dict(manifest["notes"]["registered_config"])
    assert config == LtxVaeConfig.flashhead_lite()
    with torch.device("meta"):
        model = LtxVae(config)
    state = model.state_dict()
    ours = {name: list(tensor.shape) for name, tensor in state.items()}
    assert ours == {name: entry["shape"] for name, entry in manifest["tensors"].items()}
    assert len(ours) == manifest["count"] == 190
    assert sum(tensor.numel() for tensor in state.values()) == manifest["total_elements"]
    buffers = {n for n, entry in manifest["tensors"].items() if entry["kind"] == "buffer"}
    assert {name for name, _ in model.named_buffers()} == buffers
