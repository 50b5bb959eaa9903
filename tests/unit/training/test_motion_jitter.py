"""Errors that models are handed on purpose: how large, where, and alike on any number of ranks."""

from __future__ import annotations

import pytest
import torch

from flashtalk.errors import InputError
from training.core.draws import SharedDraws
from training.objective.motion_jitter import NO_JITTER, MotionJitter


def seeded() -> SharedDraws:
    return SharedDraws(torch.Generator().manual_seed(5))


def test_no_jitter_draws_nothing_and_changes_nothing() -> None:
    """A run without one keeps the numbers that it had before there were jitters."""
    motion, draws = torch.ones(2, 3, 2, 2, 2), seeded()
    assert NO_JITTER.disturb(motion, draws) is motion
    assert torch.equal(draws.normal((2,)), seeded().normal((2,)))


def test_errors_stand_still() -> None:
    error = MotionJitter(0.3, 0.2).disturb(torch.zeros(2, 3, 5, 4, 4), seeded())
    assert float(error.abs().min()) > 0
    assert torch.equal(error, error[:, :, :1].expand_as(error))


@pytest.mark.parametrize(
    ("jitter", "spread", "within_channel"),
    [(MotionJitter(cell=0.6), 0.6, 0.6), (MotionJitter(channel=0.6), 0.6, 0.0)],
)
def test_a_jitter_is_as_large_as_it_says(
    jitter: MotionJitter, spread: float, within_channel: float
) -> None:
    motion = torch.zeros(400, 16, 2, 6, 6)
    error = jitter.disturb(motion, seeded())
    # Strengths are uniform up to the limit: a mean square of a third of the limit's.
    assert float(error.square().mean().sqrt()) == pytest.approx(spread / 3**0.5, rel=0.1)
    inside = error.flatten(3).var(dim=3).mean().sqrt()
    assert float(inside) == pytest.approx(within_channel / 3**0.5, rel=0.1)


def test_ranks_together_draw_the_jitter_of_one() -> None:
    jitter, motion = MotionJitter(0.3, 0.2), torch.zeros(4, 3, 2, 2, 2)
    one = jitter.disturb(motion, seeded())
    halves = [
        jitter.disturb(motion[:2], SharedDraws(torch.Generator().manual_seed(5), rank, 2))
        for rank in range(2)
    ]
    assert torch.equal(torch.cat(halves), one)


@pytest.mark.parametrize("field", ["cell", "channel"])
@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_an_impossible_jitter_is_named(field: str, value: float) -> None:
    with pytest.raises(InputError, match=f"jitter.{field}"):
        MotionJitter(**{field: value})
