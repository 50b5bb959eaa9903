"""The end of the real score's path, and the loss that draws the student there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from flashtalk.diffusion.schedule import sigmas
from flashtalk.errors import InputError
from tests.unit.training.test_matching import B, Nets, random
from training.distill.endpoint import EndpointConfig, endpoint_loss, path_end, path_levels
from training.distill.rollout import Exit
from training.objective.velocity import Guidance

SHAPE = (B, 16, 9, 4, 4)
HELD_B = torch.tensor([1, 2])
MOTION = random(B, 16, 2, 4, 4, seed=5)


def test_a_path_begins_at_each_samples_level_and_ends_clean() -> None:
    sigma_B = torch.tensor([1.0, 0.625])
    levels = path_levels(sigma_B, 8, 5.0)
    assert levels.shape == (9, B)
    assert torch.allclose(levels[0], sigma_B)
    assert torch.equal(levels[-1], torch.zeros(B))
    assert bool((levels.diff(dim=0) < 0).all())


def test_steps_are_the_samplers_where_it_begins_at_noise() -> None:
    levels = path_levels(torch.ones(1), 4, 5.0)
    assert levels[:, 0].tolist() == pytest.approx(sigmas(4, 5.0))


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_a_straight_path_arrives_at_its_clean_latents(steps: int) -> None:
    clean, noise = random(*SHAPE, seed=1), random(*SHAPE, seed=2)
    sigma_B = torch.tensor([1.0, 0.7])
    level = sigma_B[:, None, None, None, None]
    x = (1 - level) * clean + level * noise
    end = path_end(lambda *_: noise - clean, x, MOTION, HELD_B, path_levels(sigma_B, steps, 5.0))
    assert torch.allclose(end[:, :, 2:], clean[:, :, 2:], atol=1e-5)
    assert torch.allclose(end[0, :, 1], clean[0, :, 1], atol=1e-5)


def test_motion_latents_stand_clean_in_every_evaluation_and_at_the_end() -> None:
    seen: list[Tensor] = []

    def velocity(x: Tensor, _: Tensor) -> Tensor:
        seen.append(x)
        return torch.ones_like(x)

    end = path_end(velocity, random(*SHAPE), MOTION, HELD_B, path_levels(torch.ones(B), 3, 5.0))
    for x in (*seen, end):
        assert torch.equal(x[0, :, :1], MOTION[0, :, :1])
        assert torch.equal(x[1, :, :2], MOTION[1])
    assert len(seen) == 3


def test_the_gradient_points_to_the_end_and_has_the_size_of_one() -> None:
    x0, end = random(*SHAPE, seed=3).requires_grad_(), random(*SHAPE, seed=4)
    endpoint_loss(x0, end, HELD_B).backward()
    assert x0.grad is not None
    for row, held in enumerate(HELD_B.tolist()):
        assert not x0.grad[row, :, :held].any()
        values = 16 * (9 - held) * 16
        gradient = x0.grad[row, :, held:] * B * values
        away = (x0 - end)[row, :, held:].detach()
        assert torch.allclose(gradient, away / away.abs().mean(), atol=1e-4)
        assert float(gradient.abs().mean()) == pytest.approx(1.0, abs=1e-4)


def test_without_a_weight_no_path_is_walked() -> None:
    nets = Nets(guidance=Guidance(1, 1))
    assert "endpoint" not in nets.losses("student", Exit(1, 1))
    assert len(nets.seen["real"]) == 1


def test_a_path_asks_the_real_score_once_a_step_and_moves_the_student() -> None:
    plain, drawn = (
        Nets(guidance=Guidance(1, 1), endpoint=EndpointConfig(weight, 3)) for weight in (0.0, 2.0)
    )
    losses = [nets.losses("student", Exit(2, 2)) for nets in (plain, drawn)]
    assert len(drawn.seen["real"]) == 1 + 3
    added = float((losses[1]["loss"] - losses[0]["loss"]).detach())
    assert added == pytest.approx(2 * float(losses[1]["endpoint"]), rel=1e-5)
    with drawn.unchanged("fake", "real"):
        losses[1]["loss"].backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in drawn.student.parameters())


@pytest.mark.parametrize(("name", "value"), [("weight", -1.0), ("weight", 1e3), ("steps", 0)])
def test_a_wrong_field_is_named(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"endpoint.{name}"):
        EndpointConfig(**{name: value})
