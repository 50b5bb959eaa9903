"""The speech encoder of the ``tiny`` preset."""

import dataclasses

from flashtalk.models.wav2vec2.config import AudioConfig
from training.core.config import Gate, MetricTarget, OptimizerConfig, ScheduleConfig, TrainerConfig
from training.data.speech import Augment
from training.recipes.registry import SMOKE
from training.tasks.audio import AudioRecipe


def tiny_audio() -> AudioRecipe:
    """Phonemes at 25 Hz from 8 s streaming windows."""
    return AudioRecipe(
        trainer=TrainerConfig(
            ScheduleConfig(steps=1_000),
            OptimizerConfig(lr=2e-3, betas=(0.9, 0.98)),
            gates=(Gate(step=300, metric="viseme_accuracy", minimum=0.4),),
            targets=(
                MetricTarget("viseme_accuracy", 0.8),
                MetricTarget("openness_correlation", 0.85),
            ),
        ),
        model=AudioConfig.tiny(),
        augment=Augment(),
    )


def smoke_audio() -> AudioRecipe:
    """The same path in seconds: a narrow network, three steps."""
    return AudioRecipe(
        trainer=SMOKE,
        model=dataclasses.replace(
            AudioConfig.tiny(),
            conv_dim=(8,) * 7,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
        ),
        augment=Augment(),
        batch=2,
        eval_windows=2,
    )
