"""Stage 1 of the ``tiny`` preset (report section 3)."""

import dataclasses

from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.umt5.config import TextConfig
from flashtalk.presets import TINY
from training.core.config import Gate, MetricTarget, OptimizerConfig, ScheduleConfig, TrainerConfig
from training.data.cache import VideoPlan
from training.data.units import ClipPlan
from training.objective.motion_jitter import MotionJitter
from training.recipes.registry import SMOKE
from training.tasks.samples import SampleConfig
from training.tasks.stage1 import FreshNetworks, Stage1Recipe


def tiny_sft() -> Stage1Recipe:
    """Trains DiT and text encoder; needs the finished VAE, speech and image encoders."""
    return Stage1Recipe(
        trainer=TrainerConfig(
            ScheduleConfig(steps=12_000, warmup_ratio=0.02),
            OptimizerConfig("muon", lr=1.5e-3, muon_lr=0.02, betas=(0.9, 0.98)),
            gates=(Gate(step=3_000, metric="speech_gain", minimum=0.001),),
            targets=(MetricTarget("guided_lip_corr", 0.75),),
        ),
        preset=TINY,
        fresh=FreshNetworks(DiTConfig.tiny(), TextConfig.tiny()),
        videos=VideoPlan(ClipPlan(spread=4), buckets=None),
        samples=SampleConfig(lips=True),
        mouth_weight=4.0,
        # Without it the background of a stream drifts (docs/distillation.md).
        jitter=MotionJitter(cell=0.3, channel=0.1),
        bf16=True,
    )


def smoke_sft() -> Stage1Recipe:
    """The same path in seconds, on top of the smoke runs of the other recipes."""
    return Stage1Recipe(
        trainer=SMOKE,
        preset=TINY,
        fresh=FreshNetworks(
            dataclasses.replace(
                DiTConfig.tiny(),
                dim=32,
                ffn_dim=32,
                num_heads=2,
                num_layers=1,
                text_dim=16,
                audio_blocks=2,
                audio_channels=16,
                clip_dim=16,
            ),
            dataclasses.replace(
                TextConfig.tiny(), dim=16, dim_attn=16, dim_ffn=16, heads=2, layers=1
            ),
        ),
        videos=VideoPlan(ClipPlan(spread=3), buckets=None),
        samples=SampleConfig(videos=1, chunks=2, steps=2),
        batch=2,
        jitter=MotionJitter(cell=0.3, channel=0.1),
        bf16=True,
        eval_clips=2,
    )
