"""The real scale: the published checkpoint, recorded videos, 32 devices (report sections 3 and 4).

Numbers are the report's if it states them. ``--smoke`` runs the same code with the models and data
of the other smoke runs.
"""

from __future__ import annotations

import dataclasses

from flashtalk.presets import TINY
from training.core.config import (
    CadenceConfig,
    Every,
    Gate,
    OptimizerConfig,
    ScheduleConfig,
    TrainerConfig,
)
from training.data.buckets import BucketPlan
from training.data.cache import VideoPlan
from training.data.sampler import ClipOdds
from training.data.units import ClipPlan, StretchPlan
from training.distill.matching import MatchingConfig
from training.distill.rollout import ExitOdds
from training.objective.flow_matching import CorruptionRates
from training.objective.velocity import Guidance
from training.recipes.registry import SMOKE
from training.recipes.tiny_distill import SMOKE_OPTIMIZER
from training.tasks.samples import SampleConfig
from training.tasks.stage1 import Stage1Recipe
from training.tasks.stage2 import DistillRecipe
from training.tasks.stage2_setup import Stage2SetupConfig

_DEVICE_GB = 96.0
_RATES = CorruptionRates(unshifted=0.0)
_SMALL_BUCKETS = BucketPlan(area_px=32 * 32, always=((32, 32),), flattest=1.0)


def flashtalk_14b_sft() -> Stage1Recipe:
    """1,000 steps of 32 clips."""
    return Stage1Recipe(
        trainer=TrainerConfig(
            ScheduleConfig(steps=1_000, warmup_ratio=0.05, decay="constant"),
            OptimizerConfig(lr=1e-5),
            CadenceConfig(checkpoint=Every(seconds=1_800.0), evaluate=Every(seconds=3_600.0)),
            ema_decay=0.0,
            device="cuda",
            gates=(Gate(200, "speech_gain", 0.0, means="the video does not depend on the speech"),),
        ),
        odds=ClipOdds("rounds"),
        rates=_RATES,
        role="stage1",
        batch=32,
        bf16=True,
        checkpointing=True,
        eval_clips=128,
        device_gb=_DEVICE_GB,
    )


def flashtalk_14b_distill() -> DistillRecipe:
    """200 turns: 200 updates of the fake score, 40 of the student."""
    return DistillRecipe(
        trainer=TrainerConfig(
            ScheduleConfig(steps=200, warmup_ratio=0.0, decay="constant"),
            OptimizerConfig(lr=2e-6, betas=(0.0, 0.999), clip_norm=10.0),
            CadenceConfig(
                checkpoint=Every(seconds=1_800.0), evaluate=Every(seconds=180.0, steps=50)
            ),
            ema_decay=0.0,
            device="cuda",
            gates=(
                Gate(
                    50,
                    "free_motion",
                    0.2,
                    3.0,
                    "the motion freezes or becomes excessive",
                    at_end=True,
                ),
                Gate(
                    50,
                    "free_drift",
                    maximum=25.0,
                    means="the picture drifts within a few chunks",
                    at_end=True,
                ),
                Gate(
                    50,
                    "fake_lag",
                    maximum=1.2,
                    means="the fake score lags behind the student",
                    at_end=True,
                ),
            ),
        ),
        setup=Stage2SetupConfig(
            samples=SampleConfig(videos=4, chunks=5, guidance=1.0), device_gb=_DEVICE_GB
        ),
        matching=MatchingConfig(guidance=Guidance(audio=4.0, text=3.0)),
        batch=32,
        fake_lr_scale=0.2,
        bf16=True,
        checkpointing=True,
    )


def smoke_14b_sft() -> Stage1Recipe:
    """The same path in seconds."""
    return Stage1Recipe(
        trainer=dataclasses.replace(SMOKE, ema_decay=0.0),
        preset=TINY,
        videos=VideoPlan(ClipPlan(spread=2), buckets=_SMALL_BUCKETS),
        odds=ClipOdds("rounds"),
        rates=_RATES,
        role="stage1",
        batch=2,
        checkpointing=True,
        eval_clips=2,
        device_gb=_DEVICE_GB,
    )


def smoke_14b_distill() -> DistillRecipe:
    """The same path in seconds."""
    stretches = StretchPlan(chunks=2, spread=1)
    return DistillRecipe(
        trainer=dataclasses.replace(SMOKE, optimizer=SMOKE_OPTIMIZER, ema_decay=0.0),
        setup=Stage2SetupConfig(
            preset=TINY,
            device_gb=_DEVICE_GB,
            videos=VideoPlan(ClipPlan(spread=2), stretches, _SMALL_BUCKETS),
            samples=SampleConfig(videos=1, chunks=2, guidance=1.0),
        ),
        matching=MatchingConfig(exits=ExitOdds(chunks=2), guidance=Guidance(audio=4.0, text=3.0)),
        role="student_14b",
        batch=2,
        student_every=2,
        fake_lr_scale=0.2,
        checkpointing=True,
    )
