"""Stage 2 of the ``tiny`` preset (report section 4)."""

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
from training.data.cache import VideoPlan
from training.data.units import ClipPlan, StretchPlan
from training.distill.endpoint import EndpointConfig
from training.distill.matching import MatchingConfig
from training.distill.rollout import ExitOdds
from training.objective.motion_jitter import MotionJitter
from training.objective.velocity import Guidance
from training.recipes.registry import SMOKE
from training.tasks.samples import SampleConfig
from training.tasks.stage2 import DistillRecipe
from training.tasks.stage2_setup import Stage2SetupConfig

SMOKE_OPTIMIZER = OptimizerConfig(betas=(0.0, 0.999), clip_norm=10.0)
COLLAPSE = (
    Gate(
        100,
        "free_mouth_dyn",
        0.2,
        3.0,
        "the mouth freezes or moves excessively",
        at_end=True,
    ),
    Gate(100, "free_head_dyn", 0.1, means="the motion collapses", at_end=True),
    Gate(
        100,
        "free_drift",
        maximum=0.8,
        means="identities drift within a few chunks",
        at_end=True,
    ),
    Gate(100, "free_patched", maximum=8.0, means="frames show visible patches", at_end=True),
    Gate(
        100,
        "fake_lag",
        maximum=1.2,
        means="the fake score lags behind the student; raise fake_lr_scale",
        at_end=True,
    ),
)


def tiny_distill() -> DistillRecipe:
    """Distils the finished Stage 1 model, which stays the teacher, to a four-step student."""
    return DistillRecipe(
        trainer=TrainerConfig(
            ScheduleConfig(steps=440, warmup_ratio=0.02),
            OptimizerConfig(lr=8e-5, clip_norm=10.0),
            CadenceConfig(evaluate=Every(seconds=600.0)),
            ema_decay=0.99,
            gates=COLLAPSE,
        ),
        setup=Stage2SetupConfig(
            preset=TINY,
            videos=VideoPlan(ClipPlan(spread=4), StretchPlan(), buckets=None),
            order="drawn",
            samples=SampleConfig(videos=4, chunks=4, guidance=1.0, lips=True),
            measured="truth",
            export="folder",
        ),
        matching=MatchingConfig(
            guidance=Guidance(audio=1.5, text=1.0),
            jitter=MotionJitter(cell=0.3, channel=0.1),
            # Distribution matching alone leaves patches where a head has moved.
            endpoint=EndpointConfig(weight=1.0, steps=16),
        ),
        # A fake score at the student's own rate leaves pictures too sharp and patchy, and colours
        # that drift (docs/distillation.md).
        fake_lr_scale=10.0,
        pool=1,
        bf16=True,
    )


def smoke_distill() -> DistillRecipe:
    """The same path in seconds, on top of the smoke runs of the other recipes."""
    return DistillRecipe(
        trainer=dataclasses.replace(SMOKE, optimizer=SMOKE_OPTIMIZER),
        setup=Stage2SetupConfig(
            preset=TINY,
            videos=VideoPlan(ClipPlan(spread=3), StretchPlan(chunks=2, spread=1), buckets=None),
            order="drawn",
            samples=SampleConfig(videos=1, chunks=2, guidance=1.0),
            measured="truth",
            export="folder",
        ),
        matching=MatchingConfig(
            exits=ExitOdds(chunks=2, steps=4), jitter=MotionJitter(cell=0.3, channel=0.1)
        ),
        batch=2,
        pool=2,
        student_every=2,
        bf16=True,
    )
