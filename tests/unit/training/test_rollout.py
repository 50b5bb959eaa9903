"""Rollouts: what is evaluated, what has a graph, what a chunk continues."""

from __future__ import annotations

import collections
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from flashtalk.diffusion.sample import VelocityFn, sample
from flashtalk.diffusion.schedule import sigmas
from flashtalk.errors import InputError
from training.core.draws import SharedDraws
from training.distill.rollout import Exit, ExitOdds, ExitState, noisy_until, roll_out
from training.objective.motion_jitter import NO_JITTER, MotionJitter

SHAPE = (2, 3, 9, 2, 2)
SIGMAS = sigmas(4)
MOTION = torch.randn(SHAPE[0], SHAPE[1], 1, 2, 2, generator=torch.Generator().manual_seed(9))


class Student:
    """A network of one number, which remembers how it was called."""

    def __init__(self) -> None:
        self.weight = torch.nn.Parameter(torch.tensor(0.3))
        self.calls: list[tuple[int, float, bool]] = []
        self.inputs: list[Tensor] = []
        self.handed: list[Tensor] = []

    def velocity_of(self, chunk: int) -> VelocityFn:
        def velocity(x: Tensor, sigma: float) -> Tensor:
            self.calls.append((chunk, round(sigma, 4), torch.is_grad_enabled()))
            self.inputs.append(x.detach().clone())
            return self.weight * x

        return velocity

    def next_motion(self, z: Tensor) -> Tensor:
        self.handed.append(z)
        return z[:, :, -2:] * 0.5

    def roll(
        self,
        at: Exit,
        previous: str = "full",
        graph: bool = True,
        jitter: MotionJitter = NO_JITTER,
    ) -> tuple[ExitState, Tensor]:
        return roll_out(
            self.velocity_of,
            MOTION,
            SHAPE,
            SIGMAS,
            at,
            self.next_motion,
            seeded(),
            previous=previous,  # type: ignore[arg-type]
            jitter=jitter,
            graph=graph,
        )


def seeded() -> SharedDraws:
    return SharedDraws(torch.Generator().manual_seed(5))


@pytest.mark.parametrize("chunk", [1, 2, 5])
@pytest.mark.parametrize("step", [1, 2, 4])
def test_one_evaluation_has_a_graph_and_nothing_is_evaluated_in_vain(chunk: int, step: int) -> None:
    student = Student()
    state, raw = student.roll(Exit(chunk, step))
    assert len(student.calls) == 4 * (chunk - 1) + step
    assert len(student.handed) == chunk - 1
    assert [graph for *_, graph in student.calls] == [False] * (len(student.calls) - 1) + [True]
    assert student.calls[-1][:2] == (chunk - 1, round(SIGMAS[step - 1], 4))
    assert state.chunk_B.tolist() == [chunk - 1] * SHAPE[0]
    assert raw.requires_grad
    assert not state.motion_BCMHW.requires_grad
    assert not any(z.requires_grad for z in student.handed)


def test_without_a_graph_there_is_none() -> None:
    student = Student()
    assert not student.roll(Exit(2, 3), graph=False)[1].requires_grad
    assert not any(graph for *_, graph in student.calls)


def test_the_same_step_everywhere_costs_less() -> None:
    student = Student()
    student.roll(Exit(4, 2), previous="same")
    per_chunk = collections.Counter(chunk for chunk, *_ in student.calls)
    assert per_chunk == {0: 2, 1: 2, 2: 2, 3: 2}
    assert len(student.handed) == 3


@pytest.mark.parametrize("previous", ["full", "same"])
def test_motion_latents_stand_clean_before_every_evaluation_and_in_the_result(
    previous: str,
) -> None:
    student = Student()
    state, raw = student.roll(Exit(3, 3), previous)
    held = [MOTION, *(z[:, :, -2:] * 0.5 for z in student.handed)]
    for (chunk, *_), x in zip(student.calls, student.inputs, strict=True):
        motion = held[chunk]
        assert torch.equal(x[:, :, : motion.shape[2]], motion)
    assert torch.equal(state.motion_BCMHW, held[2])
    assert torch.equal(state.with_motion(raw)[:, :, :2], held[2])
    assert torch.equal(state.with_motion(raw)[:, :, 2:], raw[:, :, 2:])


def test_only_the_corrected_chunk_is_handed_a_jitter_and_the_result_has_none() -> None:
    student, calm = Student(), Student()
    state, raw = student.roll(Exit(3, 2), jitter=MotionJitter(cell=0.3, channel=0.2))
    expected, _ = calm.roll(Exit(3, 2))
    for jittered, clean in zip(student.inputs[:8], calm.inputs[:8], strict=True):
        assert torch.equal(jittered, clean)
    for jittered, clean in zip(student.inputs[8:], calm.inputs[8:], strict=True):
        error = jittered[:, :, :2] - clean[:, :, :2]
        assert float(error.abs().min()) > 0
        torch.testing.assert_close(error[:, :, 0], error[:, :, 1])
    assert torch.equal(state.motion_BCMHW, expected.motion_BCMHW)
    assert torch.equal(state.with_motion(raw)[:, :, :2], expected.motion_BCMHW)


def test_the_way_to_the_exit_is_that_of_the_sampler() -> None:
    """With the last step as its exit a rollout gives what the sampler gives."""
    student, other = Student(), Student()
    state, raw = student.roll(Exit(1, 4))
    draws = seeded()
    whole = sample(
        other.velocity_of(0),
        MOTION,
        SHAPE,
        SIGMAS,
        lambda _: draws.normal(SHAPE),
    )
    torch.testing.assert_close(state.with_motion(raw), whole)
    assert student.calls[0][:2] == other.calls[0][:2]


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_the_noisy_latents_of_a_step(step: int) -> None:
    noises = [torch.full(SHAPE, float(n)) for n in range(4)]
    x, sigma = noisy_until(
        lambda x, _: torch.zeros_like(x), MOTION, SHAPE, SIGMAS, noises.__getitem__, step
    )
    assert sigma == SIGMAS[step - 1]
    expected = noises[0][0, 0, 8, 0, 0]
    for number in range(1, step):
        expected = (1 - SIGMAS[number]) * expected + SIGMAS[number] * number
    assert float(x[0, 0, 8, 0, 0]) == pytest.approx(float(expected), abs=1e-6)


def test_exits_are_uniform_and_include_the_last() -> None:
    rng = np.random.default_rng(0)
    odds = ExitOdds(chunks=5, steps=4)
    drawn = [odds.draw(rng) for _ in range(20_000)]
    for values, count in (((e.chunk for e in drawn), 5), ((e.step for e in drawn), 4)):
        frequency = collections.Counter(values)
        assert set(frequency) == set(range(1, count + 1))
        assert all(n / 20_000 == pytest.approx(1 / count, abs=0.012) for n in frequency.values())
    fixed = ExitOdds(chunks=3, fixed=True)
    assert {fixed.draw(rng).chunk for _ in range(50)} == {3}


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: ExitOdds(chunks=0), "chunks"),
        (lambda: ExitOdds(steps=0), "steps"),
        (lambda: Student().roll(Exit(1, 5)), "exit step"),
        (lambda: Student().roll(Exit(1, 0)), "exit step"),
    ],
)
def test_impossible_exits_are_refused(make: Callable[[], object], field: str) -> None:
    with pytest.raises(InputError, match=field):
        make()
