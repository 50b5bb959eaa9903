"""The samplers against an oracle that knows the answer, and what they promise about motion."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from flashtalk.diffusion.guidance import three_pass, two_pass
from flashtalk.diffusion.sample import NoiseFn, VelocityFn, sample, sample_euler, timestep
from flashtalk.diffusion.schedule import sigmas
from flashtalk.errors import InputError

SHAPE = (2, 16, 9, 4, 4)
Sampler = Callable[[VelocityFn, Tensor, tuple[int, ...], tuple[float, ...], NoiseFn], Tensor]
SAMPLERS = pytest.mark.parametrize("sampler", [sample, sample_euler])


def noise(step: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(step))


def oracle(x0: Tensor) -> VelocityFn:
    """The velocity that leads to ``x0`` from anywhere."""

    def velocity(x: Tensor, sigma: float) -> Tensor:
        return (x - x0) / sigma

    return velocity


@SAMPLERS
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8, 40])
@pytest.mark.parametrize("motion", [1, 2])
def test_an_oracle_is_followed_exactly(sampler: Sampler, steps: int, motion: int) -> None:
    x0 = torch.randn(SHAPE)
    z = sampler(oracle(x0), x0[:, :, :motion], SHAPE, sigmas(steps), noise)
    torch.testing.assert_close(z, x0, atol=2e-5, rtol=0)


@SAMPLERS
@pytest.mark.parametrize("motion", [1, 2, 8])
def test_motion_stands_before_every_evaluation_and_in_the_result(
    sampler: Sampler, motion: int
) -> None:
    motion_z = torch.randn(SHAPE)[:, :, :motion]
    seen: list[Tensor] = []

    def velocity(x: Tensor, _sigma: float) -> Tensor:
        seen.append(x)
        return torch.randn_like(x)

    z = sampler(velocity, motion_z, SHAPE, sigmas(4), noise)
    assert len(seen) == 4
    for x in (*seen, z):
        assert torch.equal(x[:, :, :motion], motion_z)
    assert not torch.equal(z[:, :, motion:], seen[0][:, :, motion:])


@SAMPLERS
def test_the_network_is_told_one_timestep_per_sample(sampler: Sampler) -> None:
    told: list[Tensor] = []

    def velocity(x: Tensor, sigma: float) -> Tensor:
        told.append(timestep(x, sigma))
        return torch.zeros_like(x)

    sampler(velocity, torch.zeros(SHAPE)[:, :, :1], SHAPE, sigmas(4), noise)
    expected = torch.tensor([1000.0, 937.5, 833.3333, 625.0])[:, None].expand(4, 2)
    torch.testing.assert_close(torch.stack(told), expected, atol=1e-3, rtol=0)


def test_draws_are_asked_for_in_order_and_the_last_is_spared() -> None:
    asked: list[int] = []

    def counted(step: int) -> Tensor:
        asked.append(step)
        return noise(step)

    motion_z = torch.zeros(SHAPE)[:, :, :2]
    sample(lambda x, _sigma: x, motion_z, SHAPE, sigmas(4), counted)
    assert asked == [0, 1, 2, 3]
    asked.clear()
    sample_euler(lambda x, _sigma: x, motion_z, SHAPE, sigmas(4), counted)
    assert asked == [0]


def test_half_precision_velocities_do_not_round_the_latents() -> None:
    x0 = torch.randn(SHAPE)
    exact = oracle(x0)
    motion_z = x0[:, :, :1]
    z = sample(lambda x, sigma: exact(x, sigma).bfloat16(), motion_z, SHAPE, sigmas(4), noise)
    assert z.dtype == torch.float32
    assert (z - x0).abs().max() < 0.03


@SAMPLERS
@pytest.mark.parametrize(
    "levels",
    [(), (1.0,), (1.0, 0.5), (1000.0, 500.0, 0.0), (0.5, 0.5, 0.0), (0.2, 0.6, 0.0)],
)
def test_levels_that_do_not_descend_to_zero_are_refused(
    sampler: Sampler, levels: tuple[float, ...]
) -> None:
    with pytest.raises(InputError, match="sigmas"):
        sampler(oracle(torch.zeros(SHAPE)), torch.zeros(SHAPE)[:, :, :1], SHAPE, levels, noise)


@SAMPLERS
@pytest.mark.parametrize("motion", [torch.zeros(2, 16, 9, 4, 4), torch.zeros(2, 16, 2, 4, 6)])
def test_motion_that_does_not_fit_is_refused(sampler: Sampler, motion: Tensor) -> None:
    with pytest.raises(InputError, match="motion latents"):
        sampler(oracle(torch.zeros(SHAPE)), motion, SHAPE, sigmas(4), noise)


def test_guidance_of_scale_one_is_the_condition_and_of_zero_the_drop() -> None:
    cond, drop_text, uncond = torch.randn(3, *SHAPE)
    torch.testing.assert_close(two_pass(cond, drop_text, 1.0), cond)
    torch.testing.assert_close(two_pass(cond, drop_text, 0.0), drop_text)
    torch.testing.assert_close(two_pass(cond, drop_text, 3.0) - cond, 2 * (cond - drop_text))
    three = three_pass(cond, drop_text, uncond, text_scale=1.0, audio_scale=1.0)
    torch.testing.assert_close(three, cond)
    only_audio = three_pass(drop_text, drop_text, uncond, text_scale=5.0, audio_scale=4.0)
    torch.testing.assert_close(only_audio, two_pass(drop_text, uncond, 4.0))
    only_text = three_pass(cond, uncond, uncond, text_scale=5.0, audio_scale=4.0)
    torch.testing.assert_close(only_text, two_pass(cond, uncond, 5.0))
