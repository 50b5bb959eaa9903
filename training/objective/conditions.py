"""The conditions of a chunk, and their form for a network.

Legend: B batch, C latent channels, F latent frames, h w latent size, M image tokens, N text tokens,
D width, T video frames, W window, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from flashtalk.models.dit.conditions import Audio, Context
from flashtalk.models.dit.model import DiT


@dataclass(frozen=True)
class Conditions:
    """The conditions of one chunk.

    Args:
        y_BCFHW: [B, 20, F, h, w] mask and latents of the portrait.
        image_BMD: image tokens.
        text_BND: text tokens.
        speech_BTWLD: windows of speech features; zeros stand for no speech.
    """

    y_BCFHW: Tensor
    image_BMD: Tensor
    text_BND: Tensor
    speech_BTWLD: Tensor

    def rows(self, rows: Tensor) -> Conditions:
        """Returns those of some of the samples."""
        return Conditions(*(getattr(self, part.name)[rows] for part in fields(self)))

    def without_speech(self) -> Conditions:
        """Returns the conditions without speech: a tensor of zero embeddings, not silence."""
        return replace(self, speech_BTWLD=torch.zeros_like(self.speech_BTWLD))


@dataclass(frozen=True)
class EmbeddedConditions:
    """``Conditions`` as a network reads them, for all evaluations of a chunk."""

    y_BCFHW: Tensor
    context: Context
    audio: Audio

    def rows(self, rows: Tensor) -> EmbeddedConditions:
        """Of some of the samples."""
        return EmbeddedConditions(
            self.y_BCFHW[rows], self.context.rows(rows), self.audio.rows(rows)
        )


def embed_conditions(
    dit: DiT, given: Conditions, *, bf16: bool = False, keys: bool = False
) -> EmbeddedConditions:
    """What ``velocity.velocity_from_embedded`` needs of the conditions.

    Args:
        dit, given, bf16: as in ``velocity.velocity``.
        keys: whether to project keys and values of all layers too, for several evaluations. Blocks
            that are sharded or recomputed project them themselves.
    """
    with torch.autocast(given.y_BCFHW.device.type, torch.bfloat16, enabled=bf16):
        if keys:
            context: Context = dit.encode_context(given.image_BMD, given.text_BND)
            return EmbeddedConditions(given.y_BCFHW, context, dit.encode_audio(given.speech_BTWLD))
        tokens = dit.embed_context(given.image_BMD, given.text_BND)
        return EmbeddedConditions(given.y_BCFHW, tokens, dit.embed_audio(given.speech_BTWLD))
