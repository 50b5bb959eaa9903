"""One transformer block: self, text and image, audio attention, feed-forward (report section 3.1).

Legend: B batch, N video tokens, M context tokens, D width, H heads, K channels per head,
F latent frames, S tokens per latent frame, A audio tokens per latent frame.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from flashtalk.models.dit.conditions import ContextLayer, ContextTokens
from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.transformer.attention import AffineNorm, Gain, SelfAttention
from flashtalk.models.transformer.conditions import AudioTokens, KeyValue
from flashtalk.ops.attention import AttentionCore, SharedAttentionCore, attention, frame_attention
from flashtalk.ops.linear import FeedForward, Linear
from flashtalk.ops.norms import gated_add, modulated_norm
from flashtalk.ops.rope import RopeTable
from flashtalk.ops.token_slice import TokenSlice


def all_heads(kv: KeyValue) -> KeyValue:
    """Returns all heads: the default of ``keep`` for a single process."""
    return kv


class ContextAttention(nn.Module):
    """Attention to text and to image tokens, summed before one output projection.

    ``keep`` is a seam too: it selects the heads of projected keys and values that this process
    stores. Then ``core`` must fetch the others.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads = config.num_heads
        self.q = Linear(dim, dim)
        self.k = Linear(dim, dim)
        self.v = Linear(dim, dim)
        self.o = Linear(dim, dim)
        self.k_img = Linear(dim, dim)
        self.v_img = Linear(dim, dim)
        self.norm_q = Gain(dim, config.eps)
        self.norm_k = Gain(dim, config.eps)
        self.norm_k_img = Gain(dim, config.eps)
        self.core: AttentionCore = attention
        self.keep: Callable[[KeyValue], KeyValue] = all_heads

    def project(self, context: ContextTokens) -> ContextLayer:
        """Keys and values of the context tokens [B, M, D] in this layer."""
        heads = (self.heads, -1)
        text, image = context.text_BND, context.image_BND
        of_text = KeyValue(
            self.norm_k(self.k(text)).unflatten(-1, heads), self.v(text).unflatten(-1, heads)
        )
        of_image = KeyValue(
            self.norm_k_img(self.k_img(image)).unflatten(-1, heads),
            self.v_img(image).unflatten(-1, heads),
        )
        return ContextLayer(self.keep(of_text), self.keep(of_image))

    def forward(self, x_BND: Tensor, context: ContextTokens | ContextLayer) -> Tensor:
        """[B, N, D] to [B, N, D]."""
        layer = self.project(context) if isinstance(context, ContextTokens) else context
        q = self.norm_q(self.q(x_BND)).unflatten(-1, (self.heads, -1))
        out = self.core(q, *layer.text) + self.core(q, *layer.image)
        return self.o(out.flatten(2))


class AudioAttention(nn.Module):
    """Attention of every token to the speech of its own latent frame; ``core`` is a seam."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.q_linear = Linear(config.dim, config.dim)
        self.kv_linear = Linear(config.output_dim, 2 * config.dim)
        self.proj = Linear(config.dim, config.dim)
        self.core: SharedAttentionCore = frame_attention

    def project(self, audio: AudioTokens) -> KeyValue:
        """Keys and values [B, F, A, H, K] of the audio tokens in this layer."""
        kv = self.kv_linear(audio.tokens_BFAD).unflatten(-1, (2, self.heads, -1))
        return KeyValue(kv[:, :, :, 0], kv[:, :, :, 1])

    def forward(self, x_BND: Tensor, audio: AudioTokens | KeyValue, tokens: TokenSlice) -> Tensor:
        """[B, N, D] to [B, N, D], ``tokens`` of F * S in frame-major order."""
        layer = self.project(audio) if isinstance(audio, AudioTokens) else audio
        q_BNHK = self.q_linear(x_BND).unflatten(-1, (self.heads, -1))
        return self.proj(self.core(q_BNHK, layer.k, layer.v, tokens).flatten(2))


class Block(nn.Module):
    """Self-attention, context attention, audio attention, feed-forward.

    The first and the last are modulated and gated by the diffusion time, in float32.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        dim = config.dim
        self.eps = config.eps
        self.self_attn = SelfAttention(dim, config.num_heads, config.eps)
        self.norm3 = AffineNorm(dim, eps=config.eps)
        self.cross_attn = ContextAttention(config)
        self.ffn = FeedForward(dim, config.ffn_dim)
        self.modulation = nn.Parameter(torch.empty(1, 6, dim))
        nn.init.normal_(self.modulation, std=dim**-0.5)
        self.audio_cross_attn = AudioAttention(config)
        self.norm_x = AffineNorm(dim, eps=config.eps)

    def forward(
        self,
        x_BND: Tensor,
        time_B6D: Tensor,
        rope: RopeTable,
        context: ContextTokens | ContextLayer,
        audio: AudioTokens | KeyValue,
        tokens: TokenSlice,
    ) -> Tensor:
        """One block.

        Args:
            x_BND: [B, N, D] residual stream.
            time_B6D: [B, 6, D] float32: shift, scale, gate of attention, then of feed-forward.
            rope: angles of the N tokens.
            context: embedded tokens, or their keys and values in this layer.
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
        x_BND = x_BND + self.cross_attn(self.norm3(x_BND), context)
        x_BND = x_BND + self.audio_cross_attn(self.norm_x(x_BND), audio, tokens)
        normed = modulated_norm(x_BND, ffn_shift, ffn_scale, self.eps)
        return gated_add(x_BND, self.ffn(normed), ffn_gate)
