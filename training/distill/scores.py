"""Networks with their conditions: the student, the fake score and the guided real score.

Legend: B batch, C latent channels, F latent frames, h w latent size, M image tokens, N text tokens,
D width, T video frames, W window, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from flashtalk.diffusion.guidance import three_pass, two_pass
from flashtalk.diffusion.schedule import TRAIN_STEPS
from flashtalk.errors import InputError
from flashtalk.models.dit.conditions import Audio, Context
from flashtalk.models.dit.model import DiT


@dataclass(frozen=True)
class Conditions:
    """What one chunk is made from.

    Args:
        y_BCFHW: [B, 20, F, h, w] mask and latents of the portrait.
        clip_BMD: image tokens.
        text_BND: text tokens.
        speech_BTWLD: windows of speech features; zeros stand for no speech.
    """

    y_BCFHW: Tensor
    clip_BMD: Tensor
    text_BND: Tensor
    speech_BTWLD: Tensor

    def rows(self, rows: Tensor) -> Conditions:
        """Of some of the samples."""
        return Conditions(*(getattr(self, part.name)[rows] for part in fields(self)))

    def without_speech(self) -> Conditions:
        """The null of speech is a tensor of zero embeddings, not silence."""
        return replace(self, speech_BTWLD=torch.zeros_like(self.speech_BTWLD))


@dataclass(frozen=True)
class Guidance:
    """Weights of the real score's guidance (training specification 2.3); 1 is none.

    Args:
        audio: of the speech.
        text: of the prompt; other than 1 it costs a third evaluation.
    """

    audio: float = 4.0
    text: float = 3.0

    def __post_init__(self) -> None:
        for field in ("audio", "text"):
            if not 0 <= getattr(self, field) <= 20:
                raise InputError(field, getattr(self, field), "0 to 20")


@dataclass(frozen=True)
class Told:
    """``Conditions`` as a network reads them, for all evaluations of a chunk."""

    y_BCFHW: Tensor
    context: Context
    audio: Audio

    def rows(self, rows: Tensor) -> Told:
        """Of some of the samples."""
        return Told(self.y_BCFHW[rows], self.context.rows(rows), self.audio.rows(rows))


def tell(dit: DiT, given: Conditions, *, bf16: bool = False, keys: bool = False) -> Told:
    """What ``velocity_told`` needs of the conditions.

    Args:
        dit, given, bf16: as in ``velocity``.
        keys: keys and values of all layers too, which several evaluations then share. Blocks that
            are sharded or computed again keep their projections to themselves.
    """
    with torch.autocast(given.y_BCFHW.device.type, torch.bfloat16, enabled=bf16):
        if keys:
            context: Context = dit.encode_context(given.clip_BMD, given.text_BND)
            return Told(given.y_BCFHW, context, dit.encode_audio(given.speech_BTWLD))
        embedded = dit.embed_context(given.clip_BMD, given.text_BND)
        return Told(given.y_BCFHW, embedded, dit.embed_audio(given.speech_BTWLD))


def velocity_told(
    dit: DiT, x_BCFHW: Tensor, sigma_B: Tensor, told: Told, *, bf16: bool = False
) -> Tensor:
    """``velocity`` with conditions that were read before."""
    device = x_BCFHW.device
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        v: Tensor = dit(
            x_BCFHW, TRAIN_STEPS * sigma_B.to(device), told.y_BCFHW, told.context, told.audio
        )
    return v.float()


def velocity(
    dit: DiT, x_BCFHW: Tensor, sigma_B: Tensor, given: Conditions, *, bf16: bool = False
) -> Tensor:
    """The network's prediction of eps - x0, [B, C, F, h, w] float32.

    Args:
        dit: the network, sharded or not.
        x_BCFHW: noisy latents.
        sigma_B: float32 noise levels.
        given: the conditions.
        bf16: compute in bfloat16 with the weights as they are.
    """
    return velocity_told(dit, x_BCFHW, sigma_B, tell(dit, given, bf16=bf16), bf16=bf16)


@torch.no_grad()
def guided_velocity(
    dit: DiT,
    x_BCFHW: Tensor,
    sigma_B: Tensor,
    given: Conditions,
    empty_text_BND: Tensor,
    guidance: Guidance,
    *,
    bf16: bool = False,
) -> Tensor:
    """``velocity`` of the real score under guidance; arguments as there.

    Args:
        dit, x_BCFHW, sigma_B, given, bf16: as in ``velocity``.
        empty_text_BND: tokens of the empty or negative prompt.
        guidance: weights; a weight of 1 saves its evaluation.
    """
    heard = velocity(dit, x_BCFHW, sigma_B, given, bf16=bf16)
    if guidance == Guidance(1.0, 1.0):
        return heard
    if guidance.text == 1.0:
        deaf = velocity(dit, x_BCFHW, sigma_B, given.without_speech(), bf16=bf16)
        return two_pass(heard, deaf, guidance.audio)
    untold = replace(given, text_BND=empty_text_BND)
    drop_text = velocity(dit, x_BCFHW, sigma_B, untold, bf16=bf16)
    neither = velocity(dit, x_BCFHW, sigma_B, untold.without_speech(), bf16=bf16)
    return three_pass(
        heard, drop_text, neither, text_scale=guidance.text, audio_scale=guidance.audio
    )
