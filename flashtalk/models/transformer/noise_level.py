"""The noise level, embedded for the blocks and the head.

Legend: B batch, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.models.transformer.conditions import TimeEmbedding


def time_layers(freq_dim: int, dim: int) -> nn.Sequential:
    """Returns the layers from the time code to the embedding."""
    return nn.Sequential(nn.Linear(freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))


def modulation_layers(dim: int) -> nn.Sequential:
    """Returns the layers from the embedding to six vectors for the blocks."""
    return nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))


def embed_noise_level(
    t_B: Tensor, freq_dim: int, embedding: nn.Sequential, projection: nn.Sequential
) -> TimeEmbedding:
    """Embeds noise levels in float32, under autocast too.

    Args:
        t_B: [B] float, 1000 * sigma.
        freq_dim: channels of the time code.
        embedding: result of ``time_layers``.
        projection: result of ``modulation_layers``.
    """
    # Meta tensors do not support autocast.
    with torch.autocast("cpu" if t_B.is_meta else t_B.device.type, enabled=False):
        time_BD = run_float32(time_code(t_B, freq_dim), embedding)
        six = run_float32(time_BD, projection)
    return TimeEmbedding(time_BD, torch.unflatten(six, 1, (6, -1)))


def time_code(t_B: Tensor, width: int) -> Tensor:
    """Sinusoidal code of the diffusion time: cosines, then sines.

    Args:
        t_B: [B] time in 0..1000.
        width: channels, even.

    Returns:
        [B, width] float32, computed in float64.
    """
    exponent = torch.arange(width // 2, dtype=torch.float64, device=t_B.device) / (width // 2)
    angle = torch.outer(t_B.double(), 10_000.0**-exponent)
    return torch.cat((angle.cos(), angle.sin()), dim=1).float()


def run_float32(x_BD: Tensor, layers: nn.Sequential) -> Tensor:
    """``layers`` in float32 whatever the dtype of their parameters."""
    x_BD = x_BD.float()
    for layer in layers:
        if isinstance(layer, nn.Linear):
            x_BD = F.linear(x_BD, layer.weight.float(), layer.bias.float())
        else:
            x_BD = layer(x_BD)
    return x_BD
