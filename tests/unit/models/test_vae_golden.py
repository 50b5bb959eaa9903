"""The published VAE's own numbers (tests/goldens/vae_tiny) and its parameter names."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from flashtalk.models.vae import VAEConfig, VAEState, VideoVAE
from tests.fakes.golden_models import golden_vae
from tests.tolerances import PUBLISHED

GOLDENS = Path(__file__).parents[2] / "goldens"

Golden = dict[str, Tensor]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return load_file(GOLDENS / "vae_tiny.safetensors")


@pytest.fixture(scope="module")
def vae() -> VideoVAE:
    return golden_vae()


def video_of(golden: Golden, case: str) -> Tensor:
    return golden[f"{case}.in_q8"].float() / 64


def expected(golden: Golden, case: str) -> Tensor:
    """The whole-picture result; the sliced cases keep theirs beside the sliced one."""
    return golden.get(f"{case}.unsliced", golden[f"{case}.out"])


@pytest.mark.parametrize("case", ["enc1", "enc5", "enc33", "sliceenc2x2"])
def test_encode_matches_the_published_vae(vae: VideoVAE, golden: Golden, case: str) -> None:
    z = vae.encode(video_of(golden, case))
    torch.testing.assert_close(z[0], expected(golden, case), atol=PUBLISHED, rtol=0)


@pytest.mark.parametrize("case", ["dec1", "dec9", "slice2x2"])
def test_decode_matches_the_published_vae(vae: VideoVAE, golden: Golden, case: str) -> None:
    video = vae.decode(golden[f"{case}.in"][None])
    torch.testing.assert_close(video, expected(golden, case), atol=PUBLISHED, rtol=0)


def test_streamed_decode_matches_the_published_vae(vae: VideoVAE, golden: Golden) -> None:
    state, parts = VAEState(), []
    for z in golden["dec9.in"][None].split(1, dim=2):
        video, state = vae.decode_step(z, state)
        parts.append(video)
    torch.testing.assert_close(torch.cat(parts, 2), golden["dec9.out"], atol=PUBLISHED, rtol=0)


def test_published_constants(golden: Golden) -> None:
    config = VAEConfig.flashtalk_14b()
    assert torch.equal(torch.tensor(config.latent_mean), golden["const.mean"])
    assert torch.equal(torch.tensor(config.latent_std), golden["const.std"])


def test_names_and_shapes_of_the_14b_preset_equal_the_manifest() -> None:
    manifest = json.loads((GOLDENS / "manifest_vae.json").read_text())
    with torch.device("meta"):
        model = VideoVAE(VAEConfig.flashtalk_14b())
    ours = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert ours == {name: entry["shape"] for name, entry in manifest["tensors"].items()}
    assert sum(p.numel() for p in model.parameters()) == manifest["total_elements"]
