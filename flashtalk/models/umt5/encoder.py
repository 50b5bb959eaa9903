"""The parts of a umT5 encoder.

Implemented here for the reason in ``wav2vec2/encoder.py``; the tests compare it with transformers'
umT5, whose names it uses.

Legend: B batch, N tokens, H heads, D width, C width of a head.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.models.umt5.config import TextConfig
from flashtalk.ops.cpu_attention import cpu_attention
from flashtalk.ops.linear import Linear

_NORM_EPS = 1e-6
_FAR = 128
"""Tokens of distance from which on all are alike."""


class Norm(nn.Module):
    """Root-mean-square norm, with the mean in float32 and the gain after rounding: [..., D]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x_BND: Tensor) -> Tensor:
        """Returns ``x`` over its root mean square, times the gain."""
        mean_BN1 = x_BND.float().square().mean(-1, keepdim=True)
        return self.weight * (x_BND * torch.rsqrt(mean_BN1 + _NORM_EPS)).to(self.weight.dtype)


class BiasedAttention(nn.Module):
    """Unscaled attention with a bias for the distance of two tokens: [B, N, D] to the same."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        width, inner = config.dim, config.dim_attn
        self.q = Linear(width, inner, bias=False)
        self.k = Linear(width, inner, bias=False)
        self.v = Linear(width, inner, bias=False)
        self.o = Linear(inner, width, bias=False)
        self.relative_attention_bias = nn.Embedding(config.buckets, config.heads)
        # The attention has no scale, so the initial queries are smaller by that factor.
        nn.init.normal_(self.q.weight, std=(width * inner / config.heads) ** -0.5)
        nn.init.normal_(self.k.weight, std=width**-0.5)
        nn.init.normal_(self.v.weight, std=width**-0.5)
        nn.init.normal_(self.o.weight, std=inner**-0.5)
        nn.init.normal_(self.relative_attention_bias.weight, std=width**-0.5)

    def forward(self, x_BND: Tensor, mask_BN: Tensor, bucket_NN: Tensor) -> Tensor:
        """``mask_BN``: bool, the tokens to attend to; ``bucket_NN``: see ``distance_buckets``."""
        q, k, v = (
            part(x_BND).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q, self.k, self.v)
        )
        bias_HNN = self.relative_attention_bias(bucket_NN).permute(2, 0, 1).to(q.dtype)
        # The lowest number, not minus infinity, which would give NaN for a prompt without tokens.
        lowest = torch.finfo(q.dtype).min
        # Contiguous, as torch's fast kernels require.
        bias_BHNN = bias_HNN.masked_fill(~mask_BN[:, None, None], lowest).contiguous()
        dropout = self.dropout if self.training else 0.0
        with cpu_attention(q):
            out_BHNC = F.scaled_dot_product_attention(
                q, k, v, attn_mask=bias_BHNN, dropout_p=dropout, scale=1.0
            )
        out_BND: Tensor = self.o(out_BHNC.transpose(1, 2).flatten(2))
        return out_BND


def distance_buckets(tokens: int, buckets: int, device: torch.device) -> Tensor:
    """Returns the bias index of each query (row) and key (column): int64 [N, N].

    Half of the buckets are for keys after the query. In each half, the first half of the buckets
    stand for single distances; the others grow logarithmically up to 128.
    """
    position_N = torch.arange(tokens, device=device)
    offset_NN = position_N[None] - position_N[:, None]
    half = buckets // 2
    exact = half // 2
    distance_NN = offset_NN.abs()
    growth_NN = torch.log(distance_NN.float() / exact) / math.log(_FAR / exact) * (half - exact)
    # The logarithm of distance 0 is not finite, and is not used.
    far_NN = (exact + growth_NN.clamp(min=0).to(torch.int64)).clamp(max=half - 1)
    return half * (offset_NN > 0) + torch.where(distance_NN < exact, distance_NN, far_NN)


class GatedFeedForward(nn.Module):
    """``(gelu(x a) * (x b)) c``, GELU by its tanh form: [B, N, D] to the same."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        width, hidden = config.dim, config.dim_ffn
        self.wi_0 = Linear(width, hidden, bias=False)
        self.wi_1 = Linear(width, hidden, bias=False)
        self.wo = Linear(hidden, width, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.normal_(self.wi_0.weight, std=width**-0.5)
        nn.init.normal_(self.wi_1.weight, std=width**-0.5)
        nn.init.normal_(self.wo.weight, std=hidden**-0.5)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Returns [B, N, D]."""
        gate = F.gelu(self.wi_0(x_BND), approximate="tanh")
        out_BND: Tensor = self.wo(self.dropout(gate * self.wi_1(x_BND)))
        return out_BND


class AttentionLayer(nn.Module):
    """Attention after a norm and around a residual: [B, N, D]."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.SelfAttention = BiasedAttention(config)
        self.layer_norm = Norm(config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BND: Tensor, mask_BN: Tensor, bucket_NN: Tensor) -> Tensor:
        """Returns [B, N, D]; ``mask_BN`` and ``bucket_NN`` as in ``BiasedAttention``."""
        attended_BND = self.SelfAttention(self.layer_norm(x_BND), mask_BN, bucket_NN)
        update_BND: Tensor = self.dropout(attended_BND)
        return x_BND + update_BND


class FeedForwardLayer(nn.Module):
    """Feed-forward after a norm and around a residual: [B, N, D]."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.DenseReluDense = GatedFeedForward(config)
        self.layer_norm = Norm(config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Returns [B, N, D]."""
        update_BND: Tensor = self.dropout(self.DenseReluDense(self.layer_norm(x_BND)))
        return x_BND + update_BND


class Block(nn.Module):
    """Attention, then feed-forward: [B, N, D]."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList([AttentionLayer(config), FeedForwardLayer(config)])

    def forward(self, x_BND: Tensor, mask_BN: Tensor, bucket_NN: Tensor) -> Tensor:
        """Returns [B, N, D]; ``mask_BN`` and ``bucket_NN`` as in ``BiasedAttention``."""
        attend, feed_forward = self.layer
        out_BND: Tensor = feed_forward(attend(x_BND, mask_BN, bucket_NN))
        return out_BND


class Encoder(nn.Module):
    """Token ids [B, N] and a mask of text tokens (bool [B, N]) to contexts [B, N, D]."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.buckets = config.buckets
        self.embed_tokens = nn.Embedding(config.vocab, config.dim)
        self.block = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_layer_norm = Norm(config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, ids_BN: Tensor, mask_BN: Tensor) -> Tensor:
        """Returns contexts [B, N, D]; those of padding are undefined."""
        bucket_NN = distance_buckets(ids_BN.shape[1], self.buckets, ids_BN.device)
        x_BND = self.dropout(self.embed_tokens(ids_BN))
        for block in self.block:
            x_BND = block(x_BND, mask_BN, bucket_NN)
        out_BND: Tensor = self.dropout(self.final_layer_norm(x_BND))
        return out_BND
