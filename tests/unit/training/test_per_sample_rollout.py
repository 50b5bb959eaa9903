"""Rollouts in which every sample has its own exit: what ``roll_out`` gives, for each of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from flashtalk.diffusion.sample import VelocityFn, predict_x0
from flashtalk.diffusion.schedule import sigmas
from flashtalk.errors import InputError
from training.core.draws import SharedDraws
from training.distill.per_sample_rollout import roll_out_per_sample
from training.distill.rollout import Exit, ExitState, roll_out
from training.objective.motion_jitter import MotionJitter

B = 4
SHAPE = (B, 3, 9, 2, 2)
SIGMAS = sigmas(4)
MOTION = torch.randn(B, 3, 2, 2, 2, generator=torch.Generator().manual_seed(9))
JITTER = MotionJitter(cell=0.3, channel=0.1)
MIXED = (Exit(1, 3), Exit(3, 1), Exit(2, 4), Exit(3, 2))


class Student:
    """Its velocity depends on sample, chunk and time; it remembers which samples it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, list[int]]] = []
        self.handed = 0

    def velocity_of(self, chunk: int, rows: Tensor) -> VelocityFn:
        def velocity(x: Tensor, sigma: float) -> Tensor:
            self.asked.append((chunk, rows.tolist()))
            own = (0.1 + rows + chunk)[:, None, None, None, None]
            return torch.sin(own * x) + sigma

        return velocity

    def next_motion(self, z: Tensor) -> Tensor:
        self.handed += len(z)
        return z[:, :, -2:] * 0.5

    def roll(
        self,
        exits: Sequence[Exit],
        previous: str = "full",
        held_B: Tensor | None = None,
        draws: SharedDraws | None = None,
        mine: slice = slice(None),
    ) -> ExitState:
        held_B = torch.full((B,), 2)[mine] if held_B is None else held_B
        shape = (len(held_B), *SHAPE[1:])
        return roll_out_per_sample(
            self.velocity_of,
            MOTION[mine],
            held_B,
            shape,
            SIGMAS,
            exits,
            mine,
            self.next_motion,
            seeded() if draws is None else draws,
            previous=previous,  # type: ignore[arg-type]
            jitter=JITTER,
        )

    def ended(self, at: ExitState) -> Tensor:
        """The prediction at the exits."""
        every = torch.arange(len(at.chunk_B))
        v = [
            self.velocity_of(int(chunk), every[row : row + 1])(
                at.x_BCFHW[row : row + 1], float(at.sigma_B[row])
            )
            for row, chunk in enumerate(at.chunk_B)
        ]
        return at.clean(torch.cat(v))


def seeded(rank: int = 0, size: int = 1) -> SharedDraws:
    return SharedDraws(torch.Generator().manual_seed(5), rank, size)


@pytest.mark.parametrize("previous", ["full", "same"])
@pytest.mark.parametrize("exit_", [Exit(1, 1), Exit(2, 4), Exit(3, 2)])
def test_equal_exits_give_what_one_exit_gives(exit_: Exit, previous: str) -> None:
    student, every = Student(), torch.arange(B)
    at = student.roll([exit_] * B, previous)
    single, raw = roll_out(
        lambda chunk: Student().velocity_of(chunk, every),
        MOTION,
        SHAPE,
        SIGMAS,
        exit_,
        Student().next_motion,
        seeded(),
        previous=previous,  # type: ignore[arg-type]
        jitter=JITTER,
        graph=False,
    )
    torch.testing.assert_close(student.ended(at), raw)
    torch.testing.assert_close(at.with_motion(raw), single.with_motion(raw))
    assert torch.equal(at.motion_BCMHW, single.motion_BCMHW)
    assert torch.equal(at.chunk_B, single.chunk_B)
    assert at.sigma_B.tolist() == pytest.approx([SIGMAS[exit_.step - 1]] * B)
    v = torch.randn(SHAPE)
    torch.testing.assert_close(at.clean(v), predict_x0(at.x_BCFHW, v, float(at.sigma_B[0])))


@pytest.mark.parametrize("previous", ["full", "same"])
def test_a_sample_does_what_it_would_do_alone_and_nothing_is_evaluated_in_vain(
    previous: str,
) -> None:
    student = Student()
    student.roll(MIXED, previous)
    asked: dict[tuple[int, int], int] = {}
    for chunk, rows in student.asked:
        for row in rows:
            asked[row, chunk] = asked.get((row, chunk), 0) + 1
    for row, at in enumerate(MIXED):
        whole = 4 if previous == "full" else at.step
        expected = {(row, chunk): whole for chunk in range(at.chunk - 1)}
        expected |= {(row, at.chunk - 1): at.step - 1} if at.step > 1 else {}
        assert {key: n for key, n in asked.items() if key[0] == row} == expected
    assert student.handed == sum(at.chunk - 1 for at in MIXED)


def test_beginnings_and_others_go_side_by_side() -> None:
    held_B = torch.tensor([1, 1, 2, 2])
    student = Student()
    at = student.roll([Exit(1, 1), Exit(2, 1), Exit(1, 2), Exit(3, 1)], held_B=held_B)
    assert at.held_B.tolist() == [1, 2, 2, 2]
    kept = at.with_motion(torch.full(SHAPE, 7.0))
    assert torch.equal(kept[0, :, :1], MOTION[0, :, :1])
    assert bool((kept[0, :, 1:] == 7).all())
    assert torch.equal(kept[2, :, :2], MOTION[2])


def test_two_ranks_go_the_way_of_one_and_evaluate_equally_often() -> None:
    alone = Student().roll(MIXED)
    asked = []
    for rank, mine in enumerate((slice(0, 2), slice(2, 4))):
        student = Student()
        # Samples are numbered from the rank's first one.
        velocity_of = student.velocity_of
        student.velocity_of = lambda chunk, rows, of=velocity_of, first=mine.start: of(  # type: ignore[method-assign,misc]
            chunk, rows + first
        )
        at = student.roll(MIXED, draws=seeded(rank, 2), mine=mine)
        asked.append([chunk for chunk, _ in student.asked])
        torch.testing.assert_close(at.x_BCFHW, alone.x_BCFHW[mine])
        assert torch.equal(at.chunk_B, alone.chunk_B[mine])
        torch.testing.assert_close(at.motion_BCMHW, alone.motion_BCMHW[mine])
    assert asked[0] == asked[1]


def test_an_exit_behind_the_last_step_is_refused() -> None:
    with pytest.raises(InputError, match="exit step"):
        Student().roll([Exit(1, 1), Exit(1, 1), Exit(1, 5), Exit(1, 1)])
