"""Self-attention of the encoders for speech and pictures, with dropout for their training.

Legend: B batch, N tokens, H heads, D width of a head, C channels (H D).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.ops.cpu_attention import cpu_attention
from flashtalk.ops.linear import Linear


class SelfAttention(nn.Module):
    """Multi-head attention with biases; the parameters are named as in published files.

    Args:
        channels: width of a token, a multiple of ``heads``.
        heads: attention heads.
        dropout: dropout rate of the attention's weights, in training mode.
    """

    def __init__(self, channels: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.k_proj = Linear(channels, channels)
        self.v_proj = Linear(channels, channels)
        self.q_proj = Linear(channels, channels)
        self.out_proj = Linear(channels, channels)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """[B, N, C] to [B, N, C]."""
        q, k, v = (
            part(x_BNC).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        dropout = self.dropout if self.training else 0.0
        with cpu_attention(q):
            out_BHND = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        attended: Tensor = self.out_proj(out_BHND.transpose(1, 2).flatten(2))
        return attended
