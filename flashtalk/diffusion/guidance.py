"""Guided velocities. The distilled student needs no guidance.

Scale 1 is the conditional prediction; larger scales move away from the dropped one. Dropped speech
is a zero tensor of window embeddings, not silence.
"""

from __future__ import annotations

from torch import Tensor


def two_pass(v_cond: Tensor, v_drop: Tensor, scale: float) -> Tensor:
    """``v_drop + scale * (v_cond - v_drop)``: guides one condition, speech or text.

    Args:
        v_cond: velocity with all conditions.
        v_drop: velocity without the guided condition, same shape.
        scale: guidance weight; 1 returns ``v_cond``.
    """
    return v_drop + scale * (v_cond - v_drop)


def three_pass(
    v_cond: Tensor, v_drop_text: Tensor, v_uncond: Tensor, *, text_scale: float, audio_scale: float
) -> Tensor:
    """Guides text and speech separately, as in the base model.

    ``v_uncond + text_scale * (v_cond - v_drop_text) + audio_scale * (v_drop_text - v_uncond)``.

    Args:
        v_cond: velocity with text and speech.
        v_drop_text: velocity with speech and the empty or negative prompt.
        v_uncond: velocity with neither.
        text_scale, audio_scale: guidance weights; both 1 return ``v_cond``.
    """
    return v_uncond + text_scale * (v_cond - v_drop_text) + audio_scale * (v_drop_text - v_uncond)
