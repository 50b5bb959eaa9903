"""Shapes, errors, configuration, gradients and the closed-form start of the video VAE."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint import save_config
from flashtalk.models.vae import VAEConfig, VAEState, VideoVAE, fit_linear_bypass, resample
from flashtalk.models.vae.doubling import convolve_doubled
from flashtalk.models.vae.weights import convert, load_config
from tests.tolerances import assert_rounded

SMALL = VAEConfig(
    dim=8,
    dim_mult=(2, 3, 3),
    num_res_blocks=1,
    decoder_res_blocks=1,
    spatial_down=(True, False),
    temporal_down=(True, True),
    patch_size=4,
    linear_shortcuts=True,
    linear_bypass=True,
    latent_mean=(0.0,) * 16,
    latent_std=(1.0,) * 16,
)
TUBES = dataclasses.replace(VAEConfig.tiny(), dim=16)


def clips(count: int, frames: int = 17) -> Tensor:
    """Smooth random motion, so that a linear code holds most of it."""
    noise = torch.Generator().manual_seed(3)
    coarse = torch.randn(count, 3, 3, 6, 6, generator=noise)
    return F.interpolate(coarse, size=(frames, 32, 32), mode="trilinear").clamp(-1, 1)


@pytest.fixture(params=[SMALL, TUBES], ids=["pyramid", "tubes"], scope="module")
def vae(request: pytest.FixtureRequest) -> VideoVAE:
    torch.manual_seed(0)
    return VideoVAE(request.param).eval().requires_grad_(False)


@pytest.mark.parametrize("preset", [VAEConfig.flashtalk_14b(), VAEConfig.tiny()])
def test_presets_compress_4x8x8_to_16_channels(preset: VAEConfig) -> None:
    with torch.device("meta"):
        model = VideoVAE(preset)
        z = model.encode(torch.empty(1, 3, 33, 64, 48))
        video = model.decode(z)
    assert z.shape == (1, 16, 9, 8, 6)
    assert video.shape == (1, 3, 33, 64, 48)


@pytest.mark.parametrize("frames", [2, 4, 32, 34, 0])
def test_encode_refuses_a_partial_group(vae: VideoVAE, frames: int) -> None:
    with pytest.raises(InputError, match=r"1 \+ 4n|\[B, 3, T, H, W\]"):
        vae.encode(torch.zeros(1, 3, frames, 16, 16))


@pytest.mark.parametrize("shape", [(3, 5, 16, 16), (1, 4, 5, 16, 16), (1, 3, 5, 12, 16)])
def test_encode_refuses_other_shapes(vae: VideoVAE, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="video"):
        vae.encode(torch.zeros(shape))


def test_later_steps_take_whole_groups(vae: VideoVAE) -> None:
    _, state = vae.encode_step(torch.zeros(1, 3, 1, 16, 16), VAEState())
    with pytest.raises(InputError, match="4n frames"):
        vae.encode_step(torch.zeros(1, 3, 5, 16, 16), state)


@pytest.mark.parametrize("shape", [(1, 15, 2, 2, 2), (16, 2, 2, 2), (1, 16, 0, 2, 2)])
def test_decode_refuses_other_shapes(vae: VideoVAE, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="latents"):
        vae.decode(torch.zeros(shape))


@pytest.mark.parametrize(
    "change",
    [
        {"patch_size": 2},
        {"temporal_down": (True, False)},
        {"spatial_down": (True, False, False)},
        {"latent_mean": (0.0,)},
        {"latent_std": (0.0,) * 16},
    ],
)
def test_configuration_that_does_not_compress_4x8x8_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        dataclasses.replace(SMALL, **change)


@pytest.mark.parametrize("preset", [VAEConfig.flashtalk_14b(), VAEConfig.tiny(), SMALL])
def test_configuration_survives_its_file(preset: VAEConfig, tmp_path: Path) -> None:
    stats = preset.with_latent_stats([0.25] * 16, [2.0] * 16)
    save_config(stats, tmp_path)
    assert load_config(tmp_path) == stats


def test_broken_configuration_file_names_itself(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_config(tmp_path)
    for values in ({"width": 3}, {"dim": "wide"}, {"spatial_down": [1, 1, 1]}):
        (tmp_path / "config.json").write_text(json.dumps(values))
        with pytest.raises(WeightsError, match=next(iter(values))):
            load_config(tmp_path)


def test_latent_statistics_normalise() -> None:
    """Statistics taken from raw latents make encode's output zero-mean and unit-variance."""
    torch.manual_seed(0)
    model = VideoVAE(SMALL).eval().requires_grad_(False)
    video = clips(4)
    before = model.reconstruct(video)
    raw = model.encode_moments(video).mu
    model.set_latent_stats(raw.mean(dim=(0, 2, 3, 4)), raw.std(dim=(0, 2, 3, 4)))
    z = model.encode(video)
    torch.testing.assert_close(z.mean(dim=(0, 2, 3, 4)), torch.zeros(16), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(dim=(0, 2, 3, 4)), torch.ones(16), atol=1e-4, rtol=0)
    torch.testing.assert_close(model.reconstruct(video), before, atol=1e-4, rtol=0)
    torch.testing.assert_close(model.denormalise(z), raw, atol=1e-4, rtol=0)


def test_decode_clamps(vae: VideoVAE) -> None:
    video = vae.decode(100 * torch.randn(1, 16, 2, 2, 2))
    assert video.abs().max() == 1


@pytest.mark.parametrize("config", [SMALL, TUBES, VAEConfig(dim=4, num_res_blocks=1)])
def test_every_parameter_learns(config: VAEConfig) -> None:
    torch.manual_seed(0)
    model = VideoVAE(config)
    for weight in model.parameters():
        if not weight.any():  # layers that start at zero hide the ones before them for a step
            torch.nn.init.normal_(weight, std=0.1)
    moments = model.encode_moments(clips(1, frames=9))
    loss = model.decode_raw(moments.mu).square().mean() + moments.logvar.square().mean()
    loss.backward()
    idle = [
        name
        for name, p in model.named_parameters()
        if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()
    ]
    assert idle == []


def test_conv_forms_agree() -> None:
    """One video and two take different kernels on a CPU; results and gradients agree."""
    torch.manual_seed(0)
    model = VideoVAE(SMALL)
    video = clips(2, frames=9)
    both = model.encode_moments(video).mu
    alone = torch.cat([model.encode_moments(v).mu for v in video.split(1)])
    assert_rounded(alone, both)
    weight = model.get_parameter("encoder.head.2.weight")
    (grad_both,) = torch.autograd.grad(both.square().sum(), weight)
    (grad_alone,) = torch.autograd.grad(alone.square().sum(), weight)
    torch.testing.assert_close(grad_alone, grad_both, atol=1e-3, rtol=1e-4)


def test_bfloat16_stays_close(vae: VideoVAE) -> None:
    video = clips(1)
    expected = vae.reconstruct(video)
    half = VideoVAE(vae.config).eval().requires_grad_(False)
    half.load_state_dict(vae.state_dict())
    got = half.bfloat16().reconstruct(video.bfloat16()).float()
    assert got.shape == expected.shape
    assert (got - expected).abs().mean() < 0.02


def test_linear_start_is_the_principal_component_code() -> None:
    """Reconstruction error equals what PCA of the tubes leaves, found here by an SVD."""
    torch.manual_seed(0)
    model = VideoVAE(SMALL).eval()
    video = clips(6)
    fit_linear_bypass(model, video.split(2))
    with torch.no_grad():
        raw = model.encode_moments(video)
        output = model.decode_raw(raw.mu)
    tubes = video[:, :, 1:].unfold(2, 4, 4).unfold(3, 8, 8).unfold(4, 8, 8)
    tubes = tubes.permute(0, 2, 3, 4, 1, 5, 6, 7).reshape(-1, 768)
    left = torch.linalg.svdvals(tubes - tubes.mean(dim=0))[16:].square().sum()
    error = (output - video)[:, :, 1:].square().sum()
    torch.testing.assert_close(error, left, rtol=1e-3, atol=1e-3)
    spread = raw.mu[:, :, 1:].std(dim=(0, 2, 3, 4))
    torch.testing.assert_close(spread, torch.ones(16), atol=0.02, rtol=0)


@pytest.mark.parametrize("config", [SMALL, TUBES], ids=["pyramid", "tubes"])
def test_linear_start_can_be_trained_away_from(config: VAEConfig) -> None:
    """The first steps improve on the linear code, and reach the layers behind the zeros."""
    torch.manual_seed(0)
    model = VideoVAE(config)
    video = clips(2)
    fit_linear_bypass(model, [video])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    losses = []
    for _ in range(8):
        loss = F.mse_loss(model.decode_raw(model.encode_moments(video).mu), video)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9995 * losses[0]
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_fit_refuses_what_it_cannot_fit() -> None:
    with pytest.raises(InputError, match="linear_bypass"):
        fit_linear_bypass(VideoVAE(VAEConfig(dim=4)), [clips(1)])
    with pytest.raises(InputError, match="clips"):
        fit_linear_bypass(VideoVAE(SMALL), [])


def test_published_state_dict_keeps_its_names() -> None:
    state = {"decoder.conv1.weight": torch.zeros(1)}
    assert convert(state) == state


@torch.no_grad()
def test_frames_that_are_too_many_for_one_tensor_are_doubled_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = VideoVAE(VAEConfig(dim=8)).eval()
    z = torch.randn(1, 16, 3, 2, 4)
    whole = model.decode(z)
    made: list[int] = []
    double = resample.Upsample._double_frames

    def counted(self: resample.Upsample, x: Tensor) -> Tensor:
        made.append(4 * x.numel())
        return double(self, x)

    monkeypatch.setattr(resample.Upsample, "_double_frames", counted)
    monkeypatch.setattr(resample, "LARGEST_ELEMENTS", 20_000)
    assert_rounded(model.decode(z), whole)
    assert max(made) <= 20_000
    assert len(made) > 6


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (6, 4)])
def test_doubling_and_convolving_in_one_is_one_after_the_other(
    frames: int, size: tuple[int, int]
) -> None:
    x_FCHW, weight, bias = torch.randn(frames, 6, *size), torch.randn(4, 6, 3, 3), torch.randn(4)
    doubled = F.interpolate(x_FCHW, scale_factor=2.0, mode="nearest")
    exact = F.conv2d(doubled.double(), weight.double(), bias.double(), padding=1).float()
    assert_rounded(convolve_doubled(x_FCHW, weight, bias, margin=1), exact)
    around = F.pad(x_FCHW, (1, 1, 1, 1))
    assert_rounded(convolve_doubled(around, weight, bias, margin=0), exact)
    half = convolve_doubled(x_FCHW.bfloat16(), weight.bfloat16(), None, margin=1)
    assert half.dtype == torch.bfloat16
    without = F.conv2d(doubled, weight, padding=1)
    assert (half.float() - without).abs().mean() < 0.02 * without.abs().mean()
