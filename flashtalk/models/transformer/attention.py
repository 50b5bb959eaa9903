"""Norms and self-attention of a block (report section 3.1, Wan2.1).

Legend: B batch, N video tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flashtalk.ops.attention import SharedAttentionCore, whole_attention
from flashtalk.ops.linear import Linear
from flashtalk.ops.norms import layer_norm, rms_norm
from flashtalk.ops.rope import RopeTable, apply_rope
from flashtalk.ops.token_slice import TokenSlice


class Gain(nn.Module):
    """The learned gain of an RMS norm over the full width."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x_BND: Tensor) -> Tensor:
        """[..., D] to [..., D], same dtype."""
        return rms_norm(x_BND, self.weight, self.eps)


class AffineNorm(nn.LayerNorm):
    """Layer norm computed in float32, returned in the dtype of its input."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        return layer_norm(input, self.eps, self.weight, self.bias).to(input.dtype)


class SelfAttention(nn.Module):
    """Attention among the video tokens of a chunk, in both directions.

    ``core`` is the attention seam: ``parallel`` replaces it with a parallel implementation.
    """

    def __init__(self, dim: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.q = Linear(dim, dim)
        self.k = Linear(dim, dim)
        self.v = Linear(dim, dim)
        self.o = Linear(dim, dim)
        self.norm_q = Gain(dim, eps)
        self.norm_k = Gain(dim, eps)
        self.core: SharedAttentionCore = whole_attention
        self.qkv: nn.Module | None = None

    def join_projections(self) -> None:
        """One product for queries, keys and values instead of three; for inference only.

        The parameters lose their published names.
        """
        parts = (self.q, self.k, self.v)
        width = self.q.in_features
        self.qkv = Linear(width, len(parts) * width, device="meta")
        self.qkv.weight = nn.Parameter(torch.cat([p.weight for p in parts]), requires_grad=False)
        self.qkv.bias = nn.Parameter(torch.cat([p.bias for p in parts]), requires_grad=False)
        del self.q, self.k, self.v

    def forward(self, x_BND: Tensor, rope: RopeTable, tokens: TokenSlice) -> Tensor:
        """[B, N, D] to [B, N, D]; ``rope`` holds the angles of the same N ``tokens``."""
        heads = (self.heads, -1)
        if self.qkv is None:
            q, k, v = self.q(x_BND), self.k(x_BND), self.v(x_BND)
        else:
            q, k, v = self.qkv(x_BND).chunk(3, dim=-1)
        q = apply_rope(self.norm_q(q).unflatten(-1, heads), rope)
        k = apply_rope(self.norm_k(k).unflatten(-1, heads), rope)
        return self.o(self.core(q, k, v.unflatten(-1, heads), tokens).flatten(2))
