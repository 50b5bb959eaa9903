"""Rows of the report's tables: one thing differs, and every row leaves its own student."""

from __future__ import annotations

import dataclasses

import pytest

from training.objective.dmd import MotionPolicy
from training.objective.motion_jitter import NO_JITTER
from training.recipes import RECIPES
from training.recipes.ablations import ablation_recipes
from training.recipes.tiny_distill import tiny_distill
from training.recipes.tiny_sft import tiny_sft
from training.tasks.stage2 import DistillRecipe


def rows() -> dict[str, DistillRecipe]:
    made = {}
    for recipe in ablation_recipes():
        config = recipe.full()
        assert isinstance(config, DistillRecipe)
        made[recipe.name] = config
    return made


def test_the_rows_are_recipes_with_a_place_each() -> None:
    assert {r.name for r in ablation_recipes()} <= {r.name for r in RECIPES}
    assert [row.role for row in rows().values()] == list(rows())


def test_rows_of_table_2_differ_in_the_chunks_alone() -> None:
    exits = {name: row.matching.exits for name, row in rows().items() if "table2" in name}
    assert {name: (e.chunks, e.fixed) for name, e in exits.items()} == {
        "table2_k1": (1, True),
        "table2_k3": (3, True),
        "table2_k5": (5, True),
        "table2_random": (5, False),
    }
    base = tiny_distill()
    for name in exits:
        row = rows()[name]
        assert row.matching.jitter == NO_JITTER
        assert row.matching.endpoint.weight == 0, "the report has no such loss"
        own = base.matching
        matching = dataclasses.replace(
            row.matching,
            exits=own.exits,
            jitter=own.jitter,
            endpoint=own.endpoint,
            score_shift=own.score_shift,
        )
        assert dataclasses.replace(row, matching=matching, role=base.role) == base


def test_rows_of_table_3_are_the_five_of_the_report() -> None:
    made = rows()
    table = [
        made[name]
        for name in (
            "table3_gt",
            "table3_gt_noise",
            "table3_predicted",
            "table2_random",
            "table3_loss",
        )
    ]
    policies = [row.matching.policy for row in table]
    assert [(p.source, p.add_noise, p.calc_loss) for p in policies] == [
        ("gt", False, False),
        ("gt", True, False),
        ("predicted", False, False),
        ("predicted", True, False),
        ("predicted", True, True),
    ]
    assert policies[3] == MotionPolicy()
    assert [row.cold_start for row in table] == [0.0, 0.0, 0.5, 0.5, 0.5]
    assert len({row.matching.exits for row in table}) == 1


def test_two_rows_more_are_what_a_reproduction_found_against_table_3() -> None:
    made = rows()
    assert made["table3_clean_teacher"].matching.policy == MotionPolicy(teacher_noise=False)
    assert made["table3_tied"].matching.policy == MotionPolicy(tie=1.0)


def test_no_recipe_of_stage_2_exports_a_collapsed_student() -> None:
    for recipe in RECIPES:
        config = recipe.full()
        if isinstance(config, DistillRecipe):
            gates = config.trainer.gates
            assert "fake_lag" in {gate.metric for gate in gates}, recipe.name
            assert all(gate.at_end for gate in gates), recipe.name


def test_scores_of_the_tiny_rows_are_asked_at_low_noise_as_often_as_stage_1_learned_it() -> None:
    rates = tiny_sft().rates
    learned = rates.unshifted / 2 + (1 - rates.unshifted) / (1 + rates.shift)
    for name, row in rows().items():
        assert 1 / (1 + row.matching.score_shift) == pytest.approx(learned, abs=0.01), name
        assert row.matching.shift == 5.0
