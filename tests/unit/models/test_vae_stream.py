"""The VAE's two promises about time: streamed is whole, and causality to the bit.

Pieces of another length may run other kernels, so streamed is whole to rounding; group sizes are
random, seeded. What comes later changes no bit of what was before in two calls of equal shapes.
"""

import dataclasses
import random

import pytest
import torch
from torch import Tensor

from flashtalk.models.vae import VAEConfig, VAEState, VideoVAE
from tests.tolerances import assert_rounded

PYRAMID = VAEConfig(
    dim=8,
    dim_mult=(2, 3, 3),
    num_res_blocks=1,
    decoder_res_blocks=1,
    spatial_down=(True, False),
    temporal_down=(True, True),
    patch_size=4,
    linear_shortcuts=True,
    linear_bypass=True,
)
CONFIGS = {
    "published": VAEConfig(dim=4, num_res_blocks=1),
    "tiny": dataclasses.replace(VAEConfig.tiny(), dim=16),
    "pyramid": PYRAMID,
    "pyramid, no linear paths": dataclasses.replace(
        PYRAMID, linear_shortcuts=False, linear_bypass=False, middle_attention=False
    ),
    "patch 2, time first": dataclasses.replace(
        PYRAMID,
        patch_size=2,
        dim_mult=(1, 2, 2, 3),
        decoder_dim=4,
        spatial_down=(False, True, True),
        temporal_down=(True, False, True),
    ),
    "patch 8": dataclasses.replace(
        PYRAMID, patch_size=8, dim_mult=(2, 2, 2), spatial_down=(False, False)
    ),
    "linear shortcuts on the published levels": VAEConfig(dim=4, linear_shortcuts=True),
}
LATENTS = 7
FRAMES = 4 * (LATENTS - 1) + 1


@pytest.fixture(params=CONFIGS, scope="module")
def vae(request: pytest.FixtureRequest) -> VideoVAE:
    torch.manual_seed(7)
    return VideoVAE(CONFIGS[request.param]).eval().requires_grad_(False)


@pytest.fixture(params=[1, 2], ids=["one video", "two videos"], scope="module")
def video(request: pytest.FixtureRequest) -> Tensor:
    noise = torch.Generator().manual_seed(11)
    return torch.rand(request.param, 3, FRAMES, 32, 32, generator=noise) * 2 - 1


@pytest.fixture(scope="module")
def z(vae: VideoVAE, video: Tensor) -> Tensor:
    """The whole video's latents."""
    return vae.encode(video)


@pytest.fixture(scope="module")
def shown(vae: VideoVAE, z: Tensor) -> Tensor:
    """The frames of these latents, decoded as a whole."""
    return vae.decode(z)


def groups(total: int, seed: int) -> list[int]:
    """Random positive sizes that add up to ``total``."""
    draw = random.Random(seed)
    cuts = sorted(draw.sample(range(1, total), draw.randint(1, total - 1)))
    return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]


@pytest.mark.parametrize("seed", range(3))
def test_streamed_decode_equals_whole(vae: VideoVAE, z: Tensor, shown: Tensor, seed: int) -> None:
    state, parts = VAEState(), []
    for part in z.split(groups(LATENTS, seed), dim=2):
        frames, state = vae.decode_step(part, state)
        parts.append(frames)
    assert_rounded(torch.cat(parts, 2), shown)


@pytest.mark.parametrize("seed", range(3))
def test_streamed_encode_equals_whole(vae: VideoVAE, video: Tensor, z: Tensor, seed: int) -> None:
    latents = groups(LATENTS, seed)
    sizes = [4 * n - 3 if i == 0 else 4 * n for i, n in enumerate(latents)]
    state, parts = VAEState(), []
    for part in video.split(sizes, dim=2):
        latents_of_part, state = vae.encode_step(part, state)
        parts.append(latents_of_part)
    assert_rounded(torch.cat(parts, 2), z)


@pytest.mark.parametrize("latents", [1, 2, 3, 5])
def test_prefix_of_latents_is_latents_of_prefix(
    vae: VideoVAE, video: Tensor, z: Tensor, shown: Tensor, latents: int
) -> None:
    frames = 4 * latents - 3
    assert_rounded(vae.encode(video[:, :, :frames]), z[:, :, :latents])
    assert_rounded(vae.decode(z[:, :, :latents]), shown[:, :, :frames])


def test_batch_is_videos_side_by_side(
    vae: VideoVAE, video: Tensor, z: Tensor, shown: Tensor
) -> None:
    apart = torch.cat([vae.encode(v) for v in video.split(1)])
    assert_rounded(z, apart)
    frames = torch.cat([vae.decode(part) for part in z.split(1)])
    assert_rounded(shown, frames)


@pytest.mark.parametrize("frame", [1, 5, 6, 8, 13, 24])
def test_a_later_frame_never_reaches_an_earlier_latent(
    vae: VideoVAE, video: Tensor, z: Tensor, frame: int
) -> None:
    """And it does arrive where it must."""
    changed = video.clone()
    changed[:, :, frame] *= -1
    latent = (frame + 3) // 4
    after = vae.encode(changed)
    assert torch.equal(z[:, :, :latent], after[:, :, :latent])
    assert not torch.equal(z[:, :, latent], after[:, :, latent])


@pytest.mark.parametrize("latent", [1, 2, 4, 6])
def test_a_later_latent_never_reaches_an_earlier_frame(
    vae: VideoVAE, z: Tensor, shown: Tensor, latent: int
) -> None:
    changed = z.clone()
    changed[:, :, latent] *= -1
    frame = 4 * latent - 3
    after = vae.decode(changed)
    assert torch.equal(shown[:, :, :frame], after[:, :, :frame])
    assert not torch.equal(shown[:, :, frame : frame + 4], after[:, :, frame : frame + 4])


def test_a_state_is_a_value(vae: VideoVAE, z: Tensor) -> None:
    """The same state resumed twice gives the same frames: a step changes nothing it was given."""
    _, state = vae.decode_step(z[:, :, :2], VAEState())
    first, after = vae.decode_step(z[:, :, 2:4], state)
    vae.decode_step(z[:, :, 4:], after)
    again, _ = vae.decode_step(z[:, :, 2:4], state.map(torch.clone))
    assert torch.equal(first, again)


def test_state_size_does_not_grow(vae: VideoVAE, z: Tensor) -> None:
    _, state = vae.decode_step(z[:, :, :1], VAEState())
    shapes = [t.shape for t in state.tails]
    for part in z[:, :, 1:].split(3, dim=2):
        _, state = vae.decode_step(part, state)
        assert [t.shape for t in state.tails] == shapes
        assert all(t.untyped_storage().nbytes() == t.nbytes for t in state.tails)
