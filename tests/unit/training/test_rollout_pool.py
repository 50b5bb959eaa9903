"""Rollouts that are used again: the same gradients on average, for two cycles and not longer."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.training.test_matching import PROMPTS, Nets, batch
from training.core.config import TrainerConfig
from training.core.task import StepContext
from training.core.world import World
from training.distill.pool import Rollout, RolloutPool
from training.distill.rollout import Exit, ExitState
from training.objective.velocity import Guidance
from training.tasks.stage2 import FAKE, STUDENT, DistillRecipe, DistillTask
from training.tasks.stage2_setup import BatchRequest

BATCH = 2


class Stage2Setup:
    """Stands in for networks and data of a real one: the same samples, anew for every draw."""

    chunks = 3

    def __init__(self) -> None:
        self.requests: list[BatchRequest] = []
        self.rows: list[slice] = []

    def batch(self, _split: str, request: BatchRequest) -> Any:
        self.requests.append(request)
        made = [batch(beginning=False) for _ in range(4)]
        self.rows.append(request.mine)
        count = len(range(*request.mine.indices(8)))
        joined = {
            name: torch.cat([getattr(one, name) for one in made])[:count]
            for name in (
                "reference_BCFHW",
                "image_BND",
                "speech_BKTWLD",
                "motion_BCMHW",
                "true_motion_BKCMHW",
                "held_B",
            )
        }
        # The rows differ, as drawn samples do.
        scale = torch.from_numpy(request.rng.uniform(0.5, 1.5, count)).float()
        joined["reference_BCFHW"] = joined["reference_BCFHW"] * scale[:, None, None, None, None]
        return replace(made[0], video_B=np.arange(count), **joined)

    def report(self, *_: Any) -> dict[str, float]:
        return {"free_motion": 1.0}

    def prompts(self, _split: str, video_B: np.ndarray) -> Any:
        count = len(video_B)
        return replace(
            PROMPTS,
            text_BND=PROMPTS.text_BND[:1].expand(count, -1, -1),
            empty_BND=PROMPTS.empty_BND[:1].expand(count, -1, -1),
        )


def task(pool: int, seed: int = 0) -> tuple[DistillTask, Nets]:
    """A task with small networks and no files."""
    nets = Nets(guidance=Guidance(1, 1))
    setup = Stage2Setup()
    recipe = DistillRecipe(
        TrainerConfig(seed=seed),
        setup,  # type: ignore[arg-type]
        nets.matching.config,
        batch=BATCH,
        pool=pool,
        student_every=3,
        cold_start=0.0,
    )
    made = DistillTask.__new__(DistillTask)
    world = World.alone()
    made.recipe, made.world, made.setup, made.matching = recipe, world, setup, nets.matching  # type: ignore[assignment]
    made._pool = RolloutPool(world, recipe.batch, recipe.pool)
    return made, nets


def gradients(pool: int, turns: int) -> dict[str, Tensor]:
    """Mean gradients of both networks with weights that do not move, by update [updates, N]."""
    made, nets = task(pool)
    found: dict[str, list[Tensor]] = {STUDENT: [], FAKE: []}
    networks = {STUDENT: nets.student, FAKE: nets.fake}
    for step in range(turns):
        for update in made.updates(StepContext.create(0, step)):
            network = networks[update.group]
            update.losses["loss"].backward()
            found[update.group].append(network.head.head.bias.grad.clone())  # type: ignore[union-attr]
            network.zero_grad()
    return {name: torch.stack(values) for name, values in found.items()}


def test_the_expected_gradients_are_those_of_the_reports_loop() -> None:
    """Within their spread; updates of one cycle are not independent, so cycles are compared."""
    loop, pooled = gradients(0, 180), gradients(2, 180)
    for group in (STUDENT, FAKE):
        # A rollout is met in two cycles: means over several of them are nearly independent.
        parts = [g[group].unflatten(0, (15, -1)).mean(1) for g in (loop, pooled)]
        difference = parts[0].mean(0) - parts[1].mean(0)
        error = torch.sqrt(torch.stack([p.var(0) / len(p) for p in parts]).sum(0))
        # The largest of 64 coordinates.
        assert float((difference / error).abs().max()) < 4.5, group
        assert float((parts[0].mean(0) / error).abs().max()) > 9, "there is something to compare"


def test_one_rollout_serves_a_cycle_and_the_next_one() -> None:
    made, nets = task(pool=2)
    evaluated: list[int] = []
    nets.student.register_forward_pre_hook(lambda _, given: evaluated.append(len(given[0])))
    setup: Any = made.setup
    for step in range(9):
        before = len(evaluated)
        updates = [update.group for update in made.updates(StepContext.create(0, step))]
        if step % 3:
            assert updates == [FAKE]
            assert len(evaluated) == before
        else:
            assert updates == [STUDENT, FAKE]
            # Before the student's own: what the rollout needs, all samples at its end.
            assert evaluated[-2:] == [4, 2]
    assert [request.number for request in setup.requests] == [0, 1, 2]
    assert len(made._pool) == 2


def test_the_student_is_corrected_on_what_it_has_just_made() -> None:
    pool = RolloutPool(World.alone(), BATCH, 3)
    rng = np.random.default_rng(0)
    for cycle in range(4):
        pool.keep(cycle, rollout(float(cycle), pool.size))
        seen = {float(pool.any(rng).raw_BCFHW[0, 0, 0, 0, 0]) for _ in range(60)}
        assert seen == {float(n) for n in (cycle - 1, cycle) if n >= 0}
        assert float(pool.newest(rng).raw_BCFHW.min()) == cycle
    # A row of an update is one of those that belong to its place.
    places = torch.stack([pool.any(rng).state.chunk_B for _ in range(60)])
    assert set(places[:, 0].tolist()) == {0, 1, 2}
    assert set(places[:, 1].tolist()) == {3, 4, 5}


def test_what_is_carried_over_makes_the_same_pool_again() -> None:
    whole, _ = task(pool=2)
    for step in range(5):
        list(whole.updates(StepContext.create(0, step)))
    kept = {name: tensor.clone() for name, tensor in whole.carried().items()}
    again, _ = task(pool=2)
    again.make_room({name: tuple(tensor.shape) for name, tensor in kept.items()})
    for name, tensor in again.carried().items():
        tensor.copy_(kept[name])
    one, other = (
        next(iter(t.updates(StepContext.create(0, 5)))).losses["loss"] for t in (whole, again)
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_evaluates_its_own_rows(rank: int) -> None:
    alone, _ = task(pool=2)
    shared, _ = task(pool=2)
    shared.world = World(rank, 2, torch.device("cpu"))
    shared.student = alone.student = None  # type: ignore[assignment]
    board: Any = None
    found = shared.evaluate(board)
    setup: Any = shared.setup
    assert set(map(str, setup.rows)) == {str(slice(2 * rank, 2 * rank + 2))}
    assert found.keys() == alone.evaluate(board).keys() == {"fake_loss", "fake_lag", "free_motion"}
    assert 0 < found["fake_lag"] < 10


def rollout(value: float, count: int) -> Rollout:
    latents, level = torch.full((count, 1, 1, 1, 1), value), torch.zeros(count)
    at = ExitState(latents, level, latents, torch.ones(count), torch.arange(count))
    anything: Any = SimpleNamespace(rows=lambda _: None)
    return Rollout(anything, anything, at, latents)


def test_exits_of_a_rollout_have_the_odds_of_the_recipe() -> None:
    made, _ = task(pool=2)
    drawn = [at for cycle in range(400) for at in made._drawn_again(cycle)[2]]
    for values, count in (((at.chunk for at in drawn), 3), ((at.step for at in drawn), 4)):
        share = np.bincount(list(values), minlength=count + 1)[1:] / len(drawn)
        assert share == pytest.approx(1 / count, abs=0.04)
    assert made._drawn_again(7)[2] == made._drawn_again(7)[2]
    assert isinstance(drawn[0], Exit)
