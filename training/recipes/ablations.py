"""The rows of the report's Tables 2 and 3: ``tiny_distill`` with one change each.

All rows make the same number of updates from the same teacher; seeds are ``trainer.seed=N``. None
has a motion jitter or the ends of the teacher's path, which the report does not know and which
``tiny_distill`` adds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from training.distill.endpoint import EndpointConfig
from training.distill.rollout import ExitOdds
from training.objective.dmd import MotionPolicy
from training.objective.motion_jitter import NO_JITTER
from training.recipes.registry import Recipe
from training.recipes.tiny_distill import smoke_distill, tiny_distill
from training.tasks.stage2 import DistillRecipe

# A third of the scorers' noise levels lie below 0.5, as in Stage 1, where half are unshifted.
_SCORE_SHIFT = 2.0

Change = Callable[[DistillRecipe], DistillRecipe]


def chunks(count: int, *, fixed: bool) -> Change:
    """Table 2: the number of chunks of a rollout."""

    def change(recipe: DistillRecipe) -> DistillRecipe:
        exits = ExitOdds(min(count, recipe.setup.chunks), fixed, recipe.matching.exits.steps)
        matching = dataclasses.replace(recipe.matching, exits=exits)
        return dataclasses.replace(recipe, matching=matching)

    return change


def motion(policy: MotionPolicy) -> Change:
    """Table 3: the real score's motion latents.

    Rows with true latents begin at true frames, never at the portrait, so that both kinds of motion
    latents are of the same moment.
    """

    def change(recipe: DistillRecipe) -> DistillRecipe:
        matching = dataclasses.replace(recipe.matching, policy=policy)
        cold_start = 0.0 if policy.source == "gt" else recipe.cold_start
        return dataclasses.replace(recipe, matching=matching, cold_start=cold_start)

    return change


_ROWS: tuple[tuple[str, str, Change], ...] = (
    ("table2_k1", "Table 2: one chunk", chunks(1, fixed=True)),
    ("table2_k3", "Table 2: three chunks", chunks(3, fixed=True)),
    ("table2_k5", "Table 2: five chunks", chunks(5, fixed=True)),
    (
        "table2_random",
        "Table 2: one to five chunks; also the fourth row of Table 3",
        chunks(5, fixed=False),
    ),
    (
        "table3_gt",
        "Table 3: true motion latents, clean",
        motion(MotionPolicy("gt", add_noise=False)),
    ),
    ("table3_gt_noise", "Table 3: true motion latents, noised", motion(MotionPolicy("gt"))),
    (
        "table3_predicted",
        "Table 3: predicted motion latents, clean",
        motion(MotionPolicy(add_noise=False)),
    ),
    (
        "table3_loss",
        "Table 3: predicted, noised, counted in the loss",
        motion(MotionPolicy(calc_loss=True)),
    ),
    (
        "table3_clean_teacher",
        "beside Table 3: the real score alone sees clean motion latents",
        motion(MotionPolicy(teacher_noise=False)),
    ),
    (
        "table3_tied",
        "beside Table 3: the student's motion positions are tied to the real score's",
        motion(MotionPolicy(tie=1.0)),
    ),
)


def ablation_recipes() -> tuple[Recipe, ...]:
    """Returns one recipe per row."""
    return tuple(
        Recipe(
            name,
            summary,
            _changed(tiny_distill, change, name),
            _changed(smoke_distill, change, name),
            sharded=True,
        )
        for name, summary, change in _ROWS
    )


def _changed(
    base: Callable[[], DistillRecipe], change: Change, name: str
) -> Callable[[], DistillRecipe]:
    def make() -> DistillRecipe:
        recipe = base()
        # The report has neither jitter nor endpoint, and its tables ask what its own loss does.
        matching = dataclasses.replace(
            recipe.matching, jitter=NO_JITTER, endpoint=EndpointConfig(), score_shift=_SCORE_SHIFT
        )
        plain = dataclasses.replace(recipe, matching=matching)
        # Every row exports its student to a separate folder.
        return dataclasses.replace(change(plain), role=name)

    return make
