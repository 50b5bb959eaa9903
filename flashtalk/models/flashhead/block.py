"""One block of FlashHead: self-attention, speech attention, feed-forward.

From the published code of SoulX-FlashHead: a Wan2.1 block with speech in the place of text.

Legend: B batch, N video tokens, D width, H heads, K channels per head, F latent frames, S tokens
per latent frame, A audio tokens per latent frame.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flashtalk.models.flashhead.config import FlashHeadConfig
from flashtalk.models.transformer.attention import AffineNorm, Gain, SelfAttention
from flashtalk.models.transformer.conditions import AudioTokens, KeyValue
from flashtalk.ops.attention import SharedAttentionCore, frame_attention
from flashtalk.ops.linear import FeedForward, Linear
from flashtalk.ops.norms import gated_add, modulated_norm
from flashtalk.ops.rope import RopeTable
from flashtalk.ops.token_slice import TokenSlice


class SpeechAttention(nn.Module):
    """Attention of every token to the speech of its own latent frame, without positions.

    ``core`` is the attention seam: ``parallel`` replaces it.
    """

    def __init__(self, config: FlashHeadConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads = config.num_heads
        self.q = Linear(dim, dim)
        self.k = Linear(config.output_dim, dim)
        self.v = Linear(config.output_dim, dim)
        self.o = Linear(dim, dim)
        self.norm_q = Gain(dim, config.eps)
        self.norm_k = Gain(dim, config.eps)
        self.core: SharedAttentionCore = frame_attention

    def project(self, audio: AudioTokens) -> KeyValue:
        """Keys and values [B, F, A, H, K] of the audio tokens in this layer."""
        heads, tokens_BFAD = (self.heads, -1), audio.tokens_BFAD
        return KeyValue(
            self.norm_k(self.k(tokens_BFAD)).unflatten(-1, heads),
            self.v(tokens_BFAD).unflatten(-1, heads),
        )

    def forward(self, x_BND: Tensor, audio: AudioTokens | KeyValue, tokens: TokenSlice) -> Tensor:
        """[B, N, D] to [B, N, D], ``tokens`` of F * S in frame-major order."""
        layer = self.project(audio) if isinstance(audio, AudioTokens) else audio
        q_BNHK = self.norm_q(self.q(x_BND)).unflatten(-1, (self.heads, -1))
        return self.o(self.core(q_BNHK, layer.k, layer.v, tokens).flatten(2))


class Block(nn.Module):
    """Self-attention, speech attention, feed-forward.

    The first and the last are modulated and gated by the diffusion time, in float32.
    """

    def __init__(self, config: FlashHeadConfig) -> None:
        super().__init__()
        dim = config.dim
        self.eps = config.eps
        self.self_attn = SelfAttention(dim, config.num_heads, config.eps)
        self.norm3 = AffineNorm(dim, eps=config.eps)
        self.cross_attn = SpeechAttention(config)
        self.ffn = FeedForward(dim, config.ffn_dim)
        self.modulation = nn.Parameter(torch.empty(1, 6, dim))
        nn.init.normal_(self.modulation, std=dim**-0.5)

    def forward(
        self,
        x_BND: Tensor,
        time_B6D: Tensor,
        rope: RopeTable,
        audio: AudioTokens | KeyValue,
        tokens: TokenSlice,
    ) -> Tensor:
        """One block.

        Args:
            x_BND: [B, N, D] residual stream.
            time_B6D: [B, 6, D] float32: shift, scale, gate of attention, then of feed-forward.
            rope: angles of the N tokens.
            audio: embedded tokens, or their keys and values in this layer.
            tokens: the slice of the chunk's tokens that the N tokens are.

        Returns:
            [B, N, D] in the dtype of ``x_BND``.
        """
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = (
            self.modulation.float() + time_B6D
        ).chunk(6, dim=1)
        normed = modulated_norm(x_BND, shift, scale, self.eps)
        x_BND = gated_add(x_BND, self.self_attn(normed, rope, tokens), gate)
        x_BND = x_BND + self.cross_attn(self.norm3(x_BND), audio, tokens)
        normed = modulated_norm(x_BND, ffn_shift, ffn_scale, self.eps)
        return gated_add(x_BND, self.ffn(normed), ffn_gate)
