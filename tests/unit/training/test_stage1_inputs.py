"""Stage 1 inputs and loss (report Eq. 1)."""

import numpy as np
import pytest
import torch

from flashtalk.diffusion.condition import reference_clip, reference_condition
from training.objective.flow_matching import (
    Corruption,
    CorruptionRates,
    draw_corruption,
    motion_mask,
    noised_input,
    velocity_loss,
    warp,
)

B, C, F, HW = 4, 16, 9, 2


def corruption(sigma: float = 0.5, *, clean: int = 2, noisy: bool = False) -> Corruption:
    no = torch.zeros(B, dtype=torch.bool)
    return Corruption(torch.full((B,), sigma), torch.full((B,), clean), no | noisy, no, no)


def latents(seed: int) -> torch.Tensor:
    return torch.randn(B, C, F, HW, HW, generator=torch.Generator().manual_seed(seed))


def test_the_mask_channels_mark_latent_0_and_come_before_the_reference() -> None:
    reference = latents(0)
    y = reference_condition(reference)
    assert y.shape == (B, 20, F, HW, HW)
    pattern = torch.tensor([[1.0] + [0.0] * 8] * 4)
    for height in range(HW):
        for width in range(HW):
            assert torch.equal(y[1, :4, :, height, width], pattern)
    assert torch.equal(y[:, 4:], reference)


def test_the_frames_after_the_reference_are_zero_after_normalisation() -> None:
    portrait = torch.rand(2, 3, 8, 8) * 2 - 1
    clip = reference_clip(portrait, 33)
    assert clip.shape == (2, 3, 33, 8, 8)
    assert torch.equal(clip[:, :, 0], portrait)
    assert (clip[:, :, 1:] == 0).all()


@pytest.mark.parametrize("clean", [1, 2])
def test_motion_positions_are_clean_and_the_rest_is_the_forward_process(clean: int) -> None:
    z, noise = latents(1), latents(2)
    x = noised_input(z, noise, corruption(0.75, clean=clean))
    assert torch.equal(x[:, :, :clean], z[:, :, :clean])
    assert torch.allclose(x[:, :, clean:], (0.25 * z + 0.75 * noise)[:, :, clean:])


@pytest.mark.parametrize("clean", [1, 2])
def test_held_latents_stand_at_the_motion_positions_and_nowhere_else(clean: int) -> None:
    z, noise, held = latents(1), latents(2), latents(3)
    x = noised_input(z, noise, corruption(0.75, clean=clean), held)
    assert torch.equal(x[:, :, :clean], held[:, :, :clean])
    plain = noised_input(z, noise, corruption(0.75, clean=clean))
    assert torch.equal(x[:, :, clean:], plain[:, :, clean:])
    noisy = corruption(0.75, clean=clean, noisy=True)
    assert torch.equal(noised_input(z, noise, noisy, held), noised_input(z, noise, noisy))


def test_noisy_motion_mode_noises_every_position() -> None:
    z, noise = latents(1), latents(2)
    x = noised_input(z, noise, corruption(0.75, noisy=True))
    assert torch.allclose(x, 0.25 * z + 0.75 * noise)


@pytest.mark.parametrize("clean", [1, 2])
def test_the_loss_sees_generated_positions_only(clean: int) -> None:
    z, noise = latents(1), latents(2)
    v = noise - z
    cleans = torch.full((B,), clean)
    assert velocity_loss(v, z, noise, cleans) == 0
    spoiled = v.clone()
    spoiled[:, :, :clean] += 9.0
    assert velocity_loss(spoiled, z, noise, cleans) == 0
    v = v.requires_grad_()
    velocity_loss(v + 1.0, z, noise, cleans).backward()
    assert v.grad is not None
    assert (v.grad[:, :, :clean] == 0).all()
    assert (v.grad[:, :, clean:] != 0).all()


def test_the_loss_is_the_mean_square_in_float32_even_for_bf16() -> None:
    z, noise = latents(1), latents(2)
    loss = velocity_loss((noise - z + 2.0).bfloat16(), z, noise, torch.tensor([1, 2, 1, 2]))
    assert loss.dtype == torch.float32
    assert loss == pytest.approx(4.0, rel=0.01)


def test_weights_count_where_they_stand_and_only_relative_to_each_other() -> None:
    z, noise, cleans = latents(1), latents(2), torch.full((B,), 2)
    v = noise - z
    v[:, :, 5, 0] += 3.0
    weight = torch.ones(B, 1, F, HW, HW)
    plain = velocity_loss(v, z, noise, cleans)
    assert velocity_loss(v, z, noise, cleans, 7.0 * weight) == pytest.approx(float(plain))
    weight[:, :, 5, 0] = 4.0
    heavier = velocity_loss(v, z, noise, cleans, weight)
    # 2 of 28 cells are wrong by 9: 18 / 28 without, 72 / 34 with weight 4.
    assert plain == pytest.approx(18 / 28)
    assert heavier == pytest.approx(72 / 34)


def test_an_exact_velocity_leads_back_to_the_latents_at_any_sigma() -> None:
    z, noise = latents(1), latents(2)
    for sigma in (0.1, 0.625, 1.0):
        x = noised_input(z, noise, corruption(sigma, clean=1))
        restored = x - sigma * (noise - z)
        assert torch.allclose(restored[:, :, 1:], z[:, :, 1:], atol=1e-6)


def test_motion_mask_counts_leading_latents() -> None:
    mask = motion_mask(torch.tensor([1, 2]), F)[:, 0, :, 0, 0]
    assert mask.sum(1).tolist() == [1, 2]
    assert mask[:, 0].all()


def test_draw_rates_are_kept_and_conditions_are_dropped_exclusively() -> None:
    count = 40_000
    cold = np.arange(count) % 4 == 0
    drawn = draw_corruption(CorruptionRates(), cold, np.random.default_rng(0))
    assert (drawn.clean_B == 1).float().mean() == 0.25
    assert drawn.noisy_motion_B.float().mean() == pytest.approx(0.3, abs=0.01)
    both = drawn.drop_audio_B & drawn.drop_text_B
    assert both.float().mean() == pytest.approx(0.05, abs=0.005)
    assert drawn.drop_audio_B.float().mean() == pytest.approx(0.15, abs=0.01)
    assert drawn.drop_text_B.float().mean() == pytest.approx(0.15, abs=0.01)
    assert drawn.sigma_B.min() > 0
    assert drawn.sigma_B.max() <= 1
    # Half uniform (mean 1/2), half warped by 5 (mean 5/4 - 5 ln 5 / 16 = 0.747).
    assert drawn.sigma_B.mean() == pytest.approx((0.5 + 0.7471) / 2, abs=0.01)


def test_the_warp_gives_the_four_sampling_sigmas() -> None:
    sigmas = warp(torch.tensor([1.0, 0.75, 0.5, 0.25]), 5.0)
    assert torch.allclose(sigmas, torch.tensor([1.0, 0.9375, 5 / 6, 0.625]))
