"""The embedding of the portrait's image tokens.

Legend: B batch, N tokens.
"""

from __future__ import annotations

from torch import Tensor, nn

from flashtalk.models.dit.config import DiTConfig
from flashtalk.ops.linear import Linear

PROJECTION_EPS = 1e-5


class ImageEmbedding(nn.Module):
    """Image tokens of the vision tower to the width of the transformer."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.LayerNorm(config.clip_dim, eps=PROJECTION_EPS),
            Linear(config.clip_dim, config.clip_dim),
            nn.GELU(),
            Linear(config.clip_dim, config.dim),
            nn.LayerNorm(config.dim, eps=PROJECTION_EPS),
        )

    def forward(self, image_BND: Tensor) -> Tensor:
        """[B, clip_tokens, clip_dim] to [B, clip_tokens, dim]."""
        return self.proj(image_BND)
