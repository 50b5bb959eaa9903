"""Embeddings of everything the blocks read: diffusion time, text, image and speech.

Legend: B batch, T video frames, W audio window, L speech-feature layers, C channels,
F latent frames, G later latent frames (F - 1), S video frames per latent frame, A audio tokens
per latent frame, N tokens, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.errors import InputError
from flashtalk.models.dit.config import DiTConfig
from flashtalk.ops.linear import Linear
from flashtalk.ops.norms import layer_norm

PROJECTION_EPS = 1e-5


class AudioWindows(NamedTuple):
    """Speech-feature windows regrouped by latent frame.

    Latent frame 0 shows one video frame and keeps its whole window; every later one shows S.
    """

    first_B1WLC: Tensor
    later_BGWLC: Tensor


def regroup_windows(win_BTWLC: Tensor, frames_per_latent: int) -> AudioWindows:
    """Turn one window per video frame into one per latent frame.

    A group of S frames keeps what its frames do not share: of the first frame the left half with
    the centre, of the inner frames the centre, of the last the centre with the right half.

    Args:
        win_BTWLC: [B, 1 + n * S, W, L, C], W odd.
        frames_per_latent: S.

    Returns:
        First window [B, 1, W, L, C] and later ones [B, n, W + S - 1, L, C].
    """
    centre = win_BTWLC.shape[2] // 2
    groups = torch.unflatten(win_BTWLC[:, 1:], 1, (-1, frames_per_latent))
    later = torch.cat(
        (
            groups[:, :, 0, : centre + 1],
            groups[:, :, 1:-1, centre],
            groups[:, :, -1, centre:],
        ),
        dim=2,
    )
    return AudioWindows(win_BTWLC[:, :1], later)


class AudioProjection(nn.Module):
    """Speech-feature windows to ``context_tokens`` tokens per latent frame."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        entry = config.audio_blocks * config.audio_channels
        hidden = config.intermediate_dim
        self.proj1 = Linear(config.audio_window * entry, hidden)
        self.proj1_vf = Linear(config.group_window * entry, hidden)
        self.proj2 = Linear(hidden, hidden)
        self.proj3 = Linear(hidden, config.context_tokens * config.output_dim)
        self.norm = nn.LayerNorm(config.output_dim, eps=PROJECTION_EPS)

    def forward(self, win_BTWLC: Tensor) -> Tensor:
        """Tokens of a chunk's speech.

        Args:
            win_BTWLC: [B, 1 + n * S, W, L, C] windows; all zeros are the dropped condition of
                audio guidance.

        Returns:
            [B, 1 + n, A, output_dim].
        """
        cfg = self.config
        expected = (cfg.audio_window, cfg.audio_blocks, cfg.audio_channels)
        if win_BTWLC.ndim != 5 or win_BTWLC.shape[2:] != expected:
            raise InputError("audio windows", tuple(win_BTWLC.shape), f"[B, T, *{expected}]")
        cfg.latent_frames(win_BTWLC.shape[1])
        first, later = regroup_windows(win_BTWLC.to(self.proj2.weight.dtype), cfg.vae_scale)
        hidden = torch.cat((self.proj1(first.flatten(2)), self.proj1_vf(later.flatten(2))), dim=1)
        tokens = self.proj3(F.relu(self.proj2(F.relu(hidden))))
        tokens_BFAD = tokens.unflatten(-1, (cfg.context_tokens, cfg.output_dim))
        normed = layer_norm(tokens_BFAD, PROJECTION_EPS, self.norm.weight, self.norm.bias)
        return normed.to(self.proj2.weight.dtype)


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
