"""Speech-feature windows of a chunk to tokens of its latent frames (report section 3.1).

Legend: B batch, T video frames, W audio window, L speech-feature layers, C channels,
F latent frames, G later latent frames (F - 1), S video frames per latent frame, A audio tokens
per latent frame, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.errors import InputError
from flashtalk.models.transformer.speech_sizes import (
    SpeechSizes,
    group_window,
    latent_frames,
)
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

    def __init__(self, sizes: SpeechSizes) -> None:
        super().__init__()
        self.sizes = sizes
        entry = sizes.audio_blocks * sizes.audio_channels
        hidden = sizes.intermediate_dim
        self.proj1 = Linear(sizes.audio_window * entry, hidden)
        self.proj1_vf = Linear(group_window(sizes) * entry, hidden)
        self.proj2 = Linear(hidden, hidden)
        self.proj3 = Linear(hidden, sizes.context_tokens * sizes.output_dim)
        self.norm = nn.LayerNorm(sizes.output_dim, eps=PROJECTION_EPS)

    def forward(self, win_BTWLC: Tensor) -> Tensor:
        """Tokens of a chunk's speech.

        Args:
            win_BTWLC: [B, 1 + n * S, W, L, C] windows; all zeros are the dropped condition of
                audio guidance.

        Returns:
            [B, 1 + n, A, output_dim].

        Raises:
            InputError: a shape does not fit the configuration.
        """
        sizes = self.sizes
        expected = (sizes.audio_window, sizes.audio_blocks, sizes.audio_channels)
        if win_BTWLC.ndim != 5 or win_BTWLC.shape[2:] != expected:
            raise InputError("audio windows", tuple(win_BTWLC.shape), f"[B, T, *{expected}]")
        latent_frames(win_BTWLC.shape[1], sizes.vae_scale)
        first, later = regroup_windows(win_BTWLC.to(self.proj2.weight.dtype), sizes.vae_scale)
        hidden = torch.cat((self.proj1(first.flatten(2)), self.proj1_vf(later.flatten(2))), dim=1)
        tokens = self.proj3(F.relu(self.proj2(F.relu(hidden))))
        tokens_BFAD = tokens.unflatten(-1, (sizes.context_tokens, sizes.output_dim))
        normed = layer_norm(tokens_BFAD, PROJECTION_EPS, self.norm.weight, self.norm.bias)
        return normed.to(self.proj2.weight.dtype)
