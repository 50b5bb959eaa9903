"""Predictions of networks under conditions: the student, the fake score, the guided real score.

Legend: B batch, C latent channels, F latent frames, h w latent size, N text tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from flashtalk.diffusion.guidance import three_pass, two_pass
from flashtalk.diffusion.schedule import TRAIN_STEPS
from flashtalk.errors import InputError
from flashtalk.models.dit.model import DiT
from training.objective.conditions import Conditions, EmbeddedConditions, embed_conditions


@dataclass(frozen=True)
class Guidance:
    """Weights of the real score's guidance; 1 is none.

    Args:
        audio: weight of the speech.
        text: weight of the prompt; other than 1 it costs a third evaluation.
    """

    audio: float = 4.0
    text: float = 3.0

    def __post_init__(self) -> None:
        for field in ("audio", "text"):
            if not 0 <= getattr(self, field) <= 20:
                raise InputError(field, getattr(self, field), "0 to 20")


def velocity_from_embedded(
    dit: DiT, x_BCFHW: Tensor, sigma_B: Tensor, embedded: EmbeddedConditions, *, bf16: bool = False
) -> Tensor:
    """Returns ``velocity`` with conditions in the network's form."""
    device = x_BCFHW.device
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        v: Tensor = dit(
            x_BCFHW,
            TRAIN_STEPS * sigma_B.to(device),
            embedded.y_BCFHW,
            embedded.context,
            embedded.audio,
        )
    return v.float()


def velocity(
    dit: DiT, x_BCFHW: Tensor, sigma_B: Tensor, given: Conditions, *, bf16: bool = False
) -> Tensor:
    """Returns the network's prediction of eps - x0, [B, C, F, h, w] float32.

    Args:
        dit: the network, sharded or not.
        x_BCFHW: noisy latents.
        sigma_B: float32 noise levels.
        given: the conditions.
        bf16: compute in bfloat16; the weights keep their dtype.
    """
    return velocity_from_embedded(
        dit, x_BCFHW, sigma_B, embed_conditions(dit, given, bf16=bf16), bf16=bf16
    )


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
    """Returns ``velocity`` of the real score under guidance.

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
