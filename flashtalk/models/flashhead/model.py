"""FlashHead: velocity of a chunk of latents from portrait and speech alone.

A transformer of Wan2.1-1.3B width (published code of SoulX-FlashHead). There is no text, no image
token and no mask: the portrait is in the conditioning latents.

Legend: B batch, C latent channels, F latent frames, H W latent height and width, N tokens, D width,
T video frames, W audio window, L speech-feature layers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from flashtalk.errors import InputError
from flashtalk.models.flashhead.block import Block
from flashtalk.models.flashhead.config import FlashHeadConfig
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
from flashtalk.ops.rope import kept_rope_table


class FlashHead(nn.Module):
    """Velocity ``eps - x0`` of noisy latents, given portrait and speech.

    Parameters carry the published names. Weights may be float32 or half precision; the residual
    stream has their dtype, norms, modulation, time and rotary embedding are float32 throughout.

    ``share`` is the seam for several processes, together with those of the attentions
    (``block.py``).
    """

    def __init__(self, config: FlashHeadConfig) -> None:
        super().__init__()
        self.config = config
        dim, patch = config.dim, config.patch_hw
        self.patch_embedding = PatchEmbedding(config.in_dim, dim, patch)
        self.time_embedding = time_layers(config.freq_dim, dim)
        self.time_projection = modulation_layers(dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.head = Head(dim, config.out_dim, patch, config.eps)
        self.audio_proj = AudioProjection(config)
        self.share: TokenShare = WholeSequence()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start of training: Xavier-uniform layers, small embeddings, a head that returns zero."""
        draw_initial_weights(self, self.patch_embedding, self.time_embedding, self.head)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights and of the residual stream."""
        return self.patch_embedding.weight.dtype

    def embed_audio(self, win_BTWLD: Tensor) -> AudioTokens:
        """Speech tokens per latent frame, the form that training uses.

        Args:
            win_BTWLD: [B, T = 1 + n * ``vae_scale``, W, L, D] windows of speech features. A zero
                tensor is the dropped condition of audio guidance (undistilled weights).

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
        blocks = [block for block in self.blocks if isinstance(block, Block)]
        return AudioKV(tuple(block.cross_attn.project(tokens) for block in blocks))

    def embed_time(self, t_B: Tensor) -> TimeEmbedding:
        """Time embedding and its projection, float32 under autocast too: once per noise level.

        Args:
            t_B: [B] float, 1000 * sigma. With bfloat16 weights it is rounded to bfloat16 first,
                as published, unless the configuration says otherwise (``bfloat16_timestep``).
        """
        if self.config.bfloat16_timestep and self.dtype == torch.bfloat16:
            t_B = t_B.to(torch.bfloat16)
        return embed_noise_level(
            t_B, self.config.freq_dim, self.time_embedding, self.time_projection
        )

    def forward(
        self,
        x_BCFHW: Tensor,
        t: Tensor | TimeEmbedding,
        y_BCFHW: Tensor,
        audio: Audio,
    ) -> Tensor:
        """Velocity ``eps - x0`` at the noise level ``t``.

        Args:
            x_BCFHW: [B, C, F, H, W] noisy latents, motion positions clean.
            t: [B] float, 1000 * sigma, or the result of ``embed_time``.
            y_BCFHW: [B, C, F, H, W] conditioning latents; not converted if in the dtype of the
                weights.
            audio: result of ``encode_audio`` or ``embed_audio``, batch B and F latent frames.

        Returns:
            [B, C, F, H, W] float32.

        Raises:
            InputError: a shape does not fit the configuration or another input.
        """
        patch = self.config.patch_hw
        self._check(x_BCFHW, y_BCFHW, audio)
        grid = token_grid(x_BCFHW, patch)
        tokens = self.share.mine(math.prod(grid))
        rope = kept_rope_table(grid, self.config.head_dim, x_BCFHW).rows(tokens)
        time_BD, six_B6D = t if isinstance(t, TimeEmbedding) else self.embed_time(t)
        inputs = torch.cat((x_BCFHW.to(self.dtype), y_BCFHW.to(self.dtype)), dim=1)
        # Under autocast the embedding is rounded; the residual stream keeps the weights' dtype.
        x_BND = self.patch_embedding(inputs)[:, tokens.start : tokens.stop].to(self.dtype)
        for index, block in enumerate(self.blocks):
            x_BND = block(x_BND, six_B6D, rope, audio.layer(index), tokens)
        patches_BNP = self.share.join(self.head(x_BND, time_BD).float(), tokens)
        return unpatchify(patches_BNP, grid, patch)

    def _check(self, x_BCFHW: Tensor, y_BCFHW: Tensor, audio: Audio) -> None:
        cfg = self.config
        if x_BCFHW.ndim != 5 or x_BCFHW.shape[1] != cfg.out_dim:
            raise InputError("latents", tuple(x_BCFHW.shape), f"[B, {cfg.out_dim}, F, H, W]")
        token_grid(x_BCFHW, cfg.patch_hw)
        expected = tuple(x_BCFHW.shape)  # cond_dim equals out_dim
        if y_BCFHW.shape != expected:
            raise InputError("conditioning latents", tuple(y_BCFHW.shape), f"{expected}")
        if audio.latent_frames != x_BCFHW.shape[2]:
            limit = f"{x_BCFHW.shape[2]}, as the latents have"
            raise InputError("latent frames of audio", audio.latent_frames, limit)
