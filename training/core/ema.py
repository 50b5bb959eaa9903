"""Exponential moving average of trainable weights, kept in float32."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Averages the floating-point parameters of named modules.

    The decay is warmed up as min(decay, (1 + n) / (10 + n)) so that early averages are not
    dominated by the initial weights. Decay 0 disables averaging: the average is the model.
    """

    def __init__(self, modules: Mapping[str, nn.Module], decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._live = {
            f"{name}.{key}": parameter
            for name, module in modules.items()
            for key, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        self.average = {key: p.detach().float().clone() for key, p in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Updates the average; call after each optimizer step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.decay else 0.0
        average = list(self.average.values())
        torch._foreach_lerp_(average, [p.float() for p in self._live.values()], 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Puts the averaged weights into the modules during the block."""
        kept = {key: parameter.detach().clone() for key, parameter in self._live.items()}
        self._copy(self.average)
        try:
            yield
        finally:
            self._copy(kept)

    @torch.no_grad()
    def _copy(self, source: Mapping[str, Tensor]) -> None:
        for key, parameter in self._live.items():
            parameter.copy_(source[key])
