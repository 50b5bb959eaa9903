"""The audio-driven video transformer: velocity of a chunk of latents (report section 3.1).

Legend: B batch, C latent channels, F latent frames, H W latent height and width, R = H / 2 and
Q = W / 2 token rows and columns, N = F * R * Q tokens, D width, T video frames, W audio window,
L speech-feature layers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from flashtalk.errors import InputError
from flashtalk.models.dit.block import Block
from flashtalk.models.dit.conditions import Context, ContextKV, ContextTokens
from flashtalk.models.dit.config import PATCH_HW, DiTConfig
from flashtalk.models.dit.embeddings import ImageEmbedding
from flashtalk.models.transformer.conditions import Audio, AudioKV, AudioTokens, TimeEmbedding
from flashtalk.models.transformer.initial_weights import draw_initial_weights
from flashtalk.models.transformer.noise_level import (
    embed_noise_level,
    modulation_layers,
    time_layers,
)
from flashtalk.models.transformer.patches import Head, PatchEmbedding, token_grid, unpatchify
from flashtalk.models.transformer.speech import AudioProjection
from flashtalk.models.transformer.token_share import TokenShare, WholeSequence
from flashtalk.ops.linear import FeedForward
from flashtalk.ops.rope import kept_rope_table


class DiT(nn.Module):
    """Velocity ``eps - x0`` of noisy latents, given portrait, text and speech.

    Parameters carry the published names. Weights may be float32 or half precision; the residual
    stream has their dtype, norms, modulation, time and rotary embedding are float32 throughout.

    ``share`` is the seam for several processes, together with those of the attentions
    (``block.py``).
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.patch_embedding = PatchEmbedding(config.in_dim, dim, PATCH_HW)
        self.text_embedding = FeedForward(config.text_dim, dim, dim)
        self.time_embedding = time_layers(config.freq_dim, dim)
        self.time_projection = modulation_layers(dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.head = Head(dim, config.out_dim, PATCH_HW, config.eps)
        self.img_emb = ImageEmbedding(config)
        self.audio_proj = AudioProjection(config)
        self.share: TokenShare = WholeSequence()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start of training: Xavier-uniform layers, small embeddings, a head that returns zero."""
        embeddings = (*self.text_embedding, *self.time_embedding)
        draw_initial_weights(self, self.patch_embedding, embeddings, self.head)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights and of the residual stream."""
        return self.patch_embedding.weight.dtype

    def embed_context(self, image_BND: Tensor, text_BND: Tensor) -> ContextTokens:
        """Image and text tokens at the width of the transformer, the form that training uses.

        Args:
            image_BND: [B, clip_tokens, clip_dim] image tokens.
            text_BND: [B, N <= text_len, text_dim] text tokens. They are padded with zeros to
                ``text_len``; the padding is attended to, as published.

        Returns:
            ContextTokens for ``forward``.

        Raises:
            InputError: a shape does not fit the configuration.
        """
        cfg = self.config
        if image_BND.ndim != 3 or image_BND.shape[1:] != (cfg.clip_tokens, cfg.clip_dim):
            limit = f"[B, {cfg.clip_tokens}, {cfg.clip_dim}]"
            raise InputError("image tokens", tuple(image_BND.shape), limit)
        if (
            text_BND.ndim != 3
            or text_BND.shape[1] > cfg.text_len
            or text_BND.shape[2] != cfg.text_dim
        ):
            limit = f"[B, N <= {cfg.text_len}, {cfg.text_dim}]"
            raise InputError("text tokens", tuple(text_BND.shape), limit)
        padding = (0, 0, 0, cfg.text_len - text_BND.shape[1])
        text_BND = nn.functional.pad(text_BND.to(self.dtype), padding)
        return ContextTokens(self.text_embedding(text_BND), self.img_emb(image_BND.to(self.dtype)))

    def encode_context(self, image_BND: Tensor, text_BND: Tensor) -> ContextKV:
        """Keys and values of portrait and prompt in every layer: once per session.

        Arguments and errors as in ``embed_context``.
        """
        tokens = self.embed_context(image_BND, text_BND)
        layers = [block.cross_attn.project(tokens) for block in self._blocks()]
        return ContextKV(
            text=tuple(layer.text for layer in layers), image=tuple(layer.image for layer in layers)
        )

    def embed_audio(self, win_BTWLD: Tensor) -> AudioTokens:
        """Speech tokens per latent frame, the form that training uses.

        Args:
            win_BTWLD: [B, T = 1 + n * 4, W, L, D] windows of speech features. A zero tensor is
                the dropped condition of audio guidance.

        Returns:
            AudioTokens for ``forward``.

        Raises:
            InputError: a shape does not fit the configuration.
        """
        return AudioTokens(self.audio_proj(win_BTWLD))

    def encode_audio(self, win_BTWLD: Tensor) -> AudioKV:
        """Keys and values of a chunk's speech in every layer: once per chunk.

        Arguments and errors as in ``embed_audio``.
        """
        tokens = self.embed_audio(win_BTWLD)
        return AudioKV(tuple(block.audio_cross_attn.project(tokens) for block in self._blocks()))

    def embed_time(self, t_B: Tensor) -> TimeEmbedding:
        """Time embedding and its projection, float32 under autocast too: once per noise level.

        Args:
            t_B: [B] float, 1000 * sigma.
        """
        return embed_noise_level(
            t_B, self.config.freq_dim, self.time_embedding, self.time_projection
        )

    def forward(
        self,
        x_BCFHW: Tensor,
        t: Tensor | TimeEmbedding,
        y_BCFHW: Tensor,
        context: Context,
        audio: Audio,
    ) -> Tensor:
        """Velocity ``eps - x0`` at the noise level ``t``.

        Args:
            x_BCFHW: [B, 16, F, H, W] noisy latents, motion positions clean.
            t: [B] float, 1000 * sigma, or the result of ``embed_time``.
            y_BCFHW: [B, 20, F, H, W] mask (4) and conditioning latents (16); not converted if in
                the dtype of the weights.
            context: result of ``encode_context`` or ``embed_context``, batch B.
            audio: result of ``encode_audio`` or ``embed_audio``, batch B and F latent frames.

        Returns:
            [B, 16, F, H, W] float32.

        Raises:
            InputError: a shape does not fit the configuration or another input.
        """
        self._check(x_BCFHW, y_BCFHW, audio)
        grid = token_grid(x_BCFHW, PATCH_HW)
        tokens = self.share.mine(math.prod(grid))
        rope = kept_rope_table(grid, self.config.head_dim, x_BCFHW).rows(tokens)
        time_BD, six_B6D = t if isinstance(t, TimeEmbedding) else self.embed_time(t)
        inputs = torch.cat((x_BCFHW.to(self.dtype), y_BCFHW.to(self.dtype)), dim=1)
        # Under autocast the embedding is rounded; the residual stream keeps the weights' dtype.
        x_BND = self.patch_embedding(inputs)[:, tokens.start : tokens.stop].to(self.dtype)
        for index, block in enumerate(self.blocks):
            x_BND = block(x_BND, six_B6D, rope, context.layer(index), audio.layer(index), tokens)
        patches_BNP = self.share.join(self.head(x_BND, time_BD).float(), tokens)
        return unpatchify(patches_BNP, grid, PATCH_HW)

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def _check(self, x_BCFHW: Tensor, y_BCFHW: Tensor, audio: Audio) -> None:
        cfg = self.config
        if x_BCFHW.ndim != 5 or x_BCFHW.shape[1] != cfg.out_dim:
            raise InputError("latents", tuple(x_BCFHW.shape), f"[B, {cfg.out_dim}, F, H, W]")
        token_grid(x_BCFHW, PATCH_HW)
        expected = (x_BCFHW.shape[0], cfg.cond_dim, *x_BCFHW.shape[2:])
        if y_BCFHW.shape != expected:
            raise InputError("conditioning latents", tuple(y_BCFHW.shape), f"{expected}")
        if audio.latent_frames != x_BCFHW.shape[2]:
            limit = f"{x_BCFHW.shape[2]}, as the latents have"
            raise InputError("latent frames of audio", audio.latent_frames, limit)
