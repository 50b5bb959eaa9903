"""The image encoder of the ``tiny`` preset."""

import dataclasses

from flashtalk.models.clip.config import ClipConfig
from training.core.config import MetricTarget, OptimizerConfig, ScheduleConfig, TrainerConfig
from training.recipes.registry import SMOKE
from training.tasks.identity import IdentityRecipe


def tiny_identity() -> IdentityRecipe:
    """Identity vectors from single frames of many people."""
    return IdentityRecipe(
        trainer=TrainerConfig(
            ScheduleConfig(steps=2_000),
            OptimizerConfig(lr=1e-3, betas=(0.9, 0.98), weight_decay=0.02),
            targets=(MetricTarget("person_r2", 0.6),),
        ),
        model=ClipConfig.tiny(),
    )


def smoke_identity() -> IdentityRecipe:
    """The same path in seconds: a narrow network, three steps, eight people."""
    return IdentityRecipe(
        trainer=SMOKE,
        model=dataclasses.replace(ClipConfig.tiny(), width=16, layers=2, heads=2),
        batch=4,
        people=8,
        poses=2,
        eval_frames=4,
    )
