"""Errors of a training run."""

from flashtalk.errors import FlashTalkError


class TrainingError(FlashTalkError):
    """A run that cannot continue: a loss that is not finite, a checkpoint of another recipe."""


class GateError(TrainingError):
    """A run that is not learning: a metric misses a gate of this recipe at this step."""
