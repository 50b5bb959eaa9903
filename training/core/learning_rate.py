"""Learning rate as a pure function of the completed fraction of the run."""

import math

from training.core.config import TrainerConfig


def progress_fraction(config: TrainerConfig, step: int, elapsed_s: float) -> float:
    """Returns the completed fraction of the run, 0..1, by steps or by wall clock."""
    if config.schedule_by == "time":
        return min(1.0, elapsed_s / (60.0 * config.minutes))
    return min(1.0, step / config.steps)


def learning_rate(config: TrainerConfig, fraction: float) -> float:
    """Linear warm-up over ``config.warmup`` of the run, then constant or cosine to the floor."""
    if fraction < config.warmup:
        # Never exactly zero: the first step would have no effect.
        return config.lr * max(fraction / config.warmup, 0.02)
    if config.decay == "constant":
        return config.lr
    done = (fraction - config.warmup) / (1.0 - config.warmup)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
    return config.lr * (config.lr_floor + (1.0 - config.lr_floor) * cosine)
