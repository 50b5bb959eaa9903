"""A small convolutional regressor, the body of every measuring probe.

Legend: B frames, C colours, S side in pixels, K outputs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flashtalk.errors import InputError

GROUP_CHANNELS = 8


@dataclass(frozen=True)
class RegressorConfig:
    """``outputs`` names the numbers; ``side_px`` is the square input; each width halves the side.

    ``unshuffle`` moves that many pixels a side into channels first: a whole frame is processed at
    half size without losing a pixel, a mouth crop (1) at full size.
    """

    outputs: tuple[str, ...]
    side_px: int = 64
    unshuffle: int = 1
    widths: tuple[int, ...] = (24, 48, 96, 128)
    hidden: int = 96

    def __post_init__(self) -> None:
        step = self.unshuffle << len(self.widths)
        if self.side_px % step:
            raise InputError("side_px", self.side_px, f"divisible by {step}")
        for width in self.widths:
            if width % GROUP_CHANNELS:
                raise InputError("widths", width, f"divisible by {GROUP_CHANNELS}")


class Regressor(nn.Module):
    """frames [B, 3, S, S] in [-1, 1] -> numbers [B, K] in the units of the training targets.

    The position must be preserved, so the last map is flattened, not averaged.  GroupNorm, since
    a batch of almost equal frames has no useful batch statistics.
    """

    def __init__(self, config: RegressorConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = [nn.PixelUnshuffle(config.unshuffle)]
        before = 3 * config.unshuffle**2
        for width in config.widths:
            layers += [
                nn.Conv2d(before, width, 3, padding=1),
                nn.GroupNorm(width // GROUP_CHANNELS, width),
                nn.GELU(),
                nn.Conv2d(width, width, 2, stride=2, groups=width),
            ]
            before = width
        self.features = nn.Sequential(*layers)
        side = config.side_px // config.unshuffle >> len(config.widths)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(before * side * side, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, len(config.outputs)),
        )
        self.mean_K: Tensor
        self.std_K: Tensor
        self.register_buffer("mean_K", torch.zeros(len(config.outputs)))
        self.register_buffer("std_K", torch.ones(len(config.outputs)))

    def forward(self, frames_BCSS: Tensor) -> Tensor:
        """Returns numbers [B, K] in target units."""
        return self.standardised(frames_BCSS) * self.std_K + self.mean_K

    def standardised(self, frames_BCSS: Tensor) -> Tensor:
        """Returns numbers [B, K] in units of the population's deviation, as trained."""
        numbers_BK: Tensor = self.head(self.features(frames_BCSS))
        return numbers_BK

    def hidden(self, frames_BCSS: Tensor) -> Tensor:
        """Returns the last layer before the numbers, [B, ``config.hidden``]."""
        hidden_BD: Tensor = self.head[:-1](self.features(frames_BCSS))
        return hidden_BD

    def set_population(self, mean_K: Tensor, std_K: Tensor) -> None:
        """Sets mean and deviation of the targets; a constant target gets deviation 1."""
        self.mean_K.copy_(mean_K)
        self.std_K.copy_(torch.where(std_K > 1e-6, std_K, torch.ones_like(std_K)))
