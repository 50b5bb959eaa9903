"""Errors of a training run."""

from flashtalk.errors import FlashTalkError


class TrainingError(FlashTalkError):
    """A run that cannot go on: a loss that is not finite, a checkpoint of another recipe."""


class GateError(TrainingError):
    """A run that is not learning: a metric is below what this recipe reaches by this step."""
