"""Distribution matching: directions, normaliser, motion policies."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from flashtalk.errors import InputError
from training.core.draws import SharedDraws
from training.objective.dmd import (
    MotionPolicy,
    draw_noise,
    draw_sigma,
    fake_loss,
    matching_gradient,
    matching_loss,
    predicted_x0,
    scorer_input,
    tie_loss,
)

B, C, F, HW, M = 3, 4, 9, 2, 2
SHAPE = (B, C, F, HW, HW)


def latents(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def seeded(seed: int = 0) -> SharedDraws:
    return SharedDraws(torch.Generator().manual_seed(seed))


def test_scores_that_agree_move_nothing() -> None:
    x0, real = latents(0).requires_grad_(), latents(1)
    gradient = matching_gradient(x0, real, real, M)
    loss = matching_loss(x0, gradient, M, MotionPolicy())
    loss.backward()
    assert x0.grad is not None
    assert x0.grad.abs().max() == 0


def test_the_student_moves_from_the_fake_to_the_real_score() -> None:
    x0, real, offset = latents(0).requires_grad_(), latents(1), latents(2)
    with torch.no_grad():
        gradient = matching_gradient(x0, real + offset, real, M)
    matching_loss(x0, gradient, M, MotionPolicy()).backward()
    assert x0.grad is not None
    moved = -x0.grad[:, :, M:]
    # Against the offset, per sample in one measure of its distance, over all counted values.
    distance = (x0 - real).detach()[:, :, M:].abs().flatten(1).mean(1)[:, None, None, None, None]
    expected = -offset[:, :, M:] / distance / moved.numel()
    torch.testing.assert_close(moved, expected)
    assert x0.grad[:, :, :M].abs().max() == 0


def test_motion_positions_do_not_scale_the_gradient() -> None:
    x0, fake, real = latents(0), latents(1), latents(2)
    far = x0.clone()
    far[:, :, :M] += 1e6
    one, other = (matching_gradient(x, fake, real, M)[:, :, M:] for x in (x0, far))
    torch.testing.assert_close(one, other)


def test_a_student_at_the_real_score_divides_by_no_zero() -> None:
    real = latents(0)
    gradient = matching_gradient(real, real + 1e-4, real, M)
    assert gradient.abs().max() <= 0.11
    broken = real.clone()
    broken[0, 0, 5, 0, 0] = float("nan")
    assert torch.isfinite(matching_gradient(real, broken, real, M)).all()


def test_where_the_policy_says_so_the_motion_positions_count() -> None:
    x0 = latents(0).requires_grad_()
    gradient = matching_gradient(x0.detach(), latents(1), latents(2), M)
    matching_loss(x0, gradient, M, MotionPolicy(calc_loss=True)).backward()
    assert x0.grad is not None
    assert x0.grad[:, :, :M].abs().min() > 0


def test_noise_levels_cover_everything_and_stay_inside() -> None:
    sigma_B = draw_sigma(20_000, seeded())
    assert sigma_B.min() >= 0.02
    assert sigma_B.max() <= 0.98
    below = [(sigma_B < level).float().mean() for level in (0.25, 0.5, 0.75)]
    # u = s / (5 - 4 s): 6.25 %, 16.7 %, 37.5 %.
    assert below == pytest.approx([0.0625, 0.1667, 0.375], abs=0.012)


@pytest.mark.parametrize("shift", [1.0, 2.0, 5.0])
def test_a_shift_says_how_many_noise_levels_are_low(shift: float) -> None:
    sigma_B = draw_sigma(20_000, seeded(), shift)
    assert float((sigma_B < 0.5).float().mean()) == pytest.approx(1 / (1 + shift), abs=0.012)


@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.parametrize("kind", ["same_t", "small"])
def test_what_scorers_see_of_the_motion_latents(noisy: bool, kind: str) -> None:
    policy = MotionPolicy(add_noise=noisy, noise=kind)  # type: ignore[arg-type]
    drawn = draw_noise(SHAPE, policy, seeded())
    x0, motion = latents(1), latents(2)[:, :, :M]
    x = scorer_input(x0, motion, drawn)
    sigma = drawn.sigma_B[:, None, None, None, None]
    expected = (1 - sigma) * x0 + sigma * drawn.noise_BCFHW
    torch.testing.assert_close(x[:, :, M:], expected[:, :, M:])
    if not noisy:
        assert torch.equal(x[:, :, :M], motion)
    elif kind == "same_t":
        level = (1 - sigma) * motion + sigma * drawn.noise_BCFHW[:, :, :M]
        torch.testing.assert_close(x[:, :, :M], level)
    else:
        assert (drawn.motion_sigma_B >= 0.02).all()
        assert (drawn.motion_sigma_B <= 0.1).all()
        assert (x[:, :, :M] - motion).abs().max() < 0.6


def test_the_five_rows_of_table_3_are_five_different_things() -> None:
    x0, true_motion = latents(1), latents(2)[:, :, :M]
    rows = [
        MotionPolicy("gt", add_noise=False),
        MotionPolicy("gt"),
        MotionPolicy(add_noise=False),
        MotionPolicy(),
        MotionPolicy(calc_loss=True),
    ]
    seen = []
    for policy in rows:
        drawn = draw_noise(SHAPE, policy, seeded())
        motion = true_motion if policy.source == "gt" else x0[:, :, :M]
        real = scorer_input(x0, motion, drawn)
        value = x0.clone().requires_grad_()
        matching_loss(value, real, M, policy).backward()
        assert value.grad is not None
        seen.append(torch.cat((real.flatten(), value.grad.flatten())))
    for one, other in itertools.combinations(seen, 2):
        assert not torch.equal(one, other)


def test_the_fake_score_learns_velocity_of_the_generated_positions_only() -> None:
    x0, noise = latents(0), latents(1)
    right = noise - x0
    wrong_motion = right.clone()
    wrong_motion[:, :, :M] += 7
    assert fake_loss(wrong_motion, x0, noise, M, MotionPolicy()) == 0
    assert fake_loss(right + 2, x0, noise, M, MotionPolicy()) == pytest.approx(4)
    sigma_B = torch.tensor([0.1, 0.5, 0.9])
    x = (1 - sigma_B[:, None, None, None, None]) * x0 + sigma_B[:, None, None, None, None] * noise
    torch.testing.assert_close(predicted_x0(x, right, sigma_B), x0)


def test_a_fake_score_whose_motion_positions_are_used_learns_them() -> None:
    x0, noise = latents(0), latents(1)
    v = noise - x0
    v[:, :, :M] += 3
    assert fake_loss(v, x0, noise, M, MotionPolicy(calc_loss=True)) == pytest.approx(9 * M / F)


def test_a_tie_counts_the_motion_positions_alone() -> None:
    raw, real = torch.zeros(2, C, F, 3, 3), torch.ones(2, C, F, 3, 3)
    real[:, :, M:] = 100.0
    assert tie_loss(raw, real, M) == pytest.approx(1.0)
    real[1, :, 1:] = 100.0  # this sample continues one latent, the portrait
    assert tie_loss(raw, real, torch.tensor([M, 1])) == pytest.approx(1.0)
    with pytest.raises(InputError, match="tie"):
        MotionPolicy(tie=-1)


def test_samples_that_hold_different_numbers_of_motion_latents() -> None:
    """In one batch each is what it would be among others of its kind."""
    policy, drawn = (
        MotionPolicy(noise="small"),
        draw_noise(SHAPE, MotionPolicy(noise="small"), seeded()),
    )
    x0, motion, held_B = latents(1), latents(2)[:, :, :M], torch.tensor([1, 2, 1])
    mixed = scorer_input(x0, motion, drawn, held_B)
    gradient = matching_gradient(x0, latents(3), latents(4), held_B)
    losses: dict[int, list[Tensor]] = {1: [], 2: []}
    for held in (1, 2):
        rows = held_B == held
        alike = scorer_input(x0, motion[:, :, :held], drawn)
        torch.testing.assert_close(mixed[rows], alike[rows])
        expected = matching_gradient(x0, latents(3), latents(4), held)
        torch.testing.assert_close(gradient[rows], expected[rows])
        losses[held] = [
            matching_loss(x0[rows], expected[rows], held, policy),
            fake_loss(latents(5)[rows], x0[rows], drawn.noise_BCFHW[rows], held, policy),
        ]
    together = [
        matching_loss(x0, gradient, held_B, policy),
        fake_loss(latents(5), x0, drawn.noise_BCFHW, held_B, policy),
    ]
    for whole, ones, twos in zip(together, losses[1], losses[2], strict=True):
        torch.testing.assert_close(whole, (2 * ones + twos) / 3)


def test_a_gaussian_student_becomes_the_target() -> None:
    """Matching converges where both scores are known exactly."""
    draws = seeded(3)
    centre, spread = (
        torch.tensor([0.9], requires_grad=True),
        torch.tensor([0.3], requires_grad=True),
    )
    optimizer = torch.optim.Adam([centre, spread], lr=0.02)
    for _ in range(400):
        z = draws.normal((512, 1, 1, 1, 1))
        x0 = centre + spread * z
        drawn = draw_noise(tuple(x0.shape), MotionPolicy(add_noise=False), draws)
        with torch.no_grad():
            x = scorer_input(x0, x0[:, :, :0], drawn)
            sigma = drawn.sigma_B[:, None, None, None, None]
            real = gaussian_x0(x, sigma, mean=-0.5, deviation=1.2)
            fake = gaussian_x0(x, sigma, mean=centre.item(), deviation=abs(spread.item()))
            gradient = matching_gradient(x0, fake, real, 0)
        loss = matching_loss(x0, gradient, 0, MotionPolicy())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert centre.item() == pytest.approx(-0.5, abs=0.1)
    assert abs(spread.item()) == pytest.approx(1.2, abs=0.15)


def gaussian_x0(
    x: torch.Tensor, sigma: torch.Tensor, mean: float, deviation: float
) -> torch.Tensor:
    """E[x0 | x] for x = (1 - s) x0 + s eps and a Gaussian x0."""
    keep, variance = 1 - sigma, deviation**2
    gain = keep * variance / (keep**2 * variance + sigma**2)
    return mean + gain * (x - keep * mean)


def test_small_noise_is_a_range() -> None:
    with pytest.raises(InputError, match="small_sigma"):
        MotionPolicy(small_sigma=(0.2, 0.1))
