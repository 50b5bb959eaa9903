"""Norms and modulation: statistics in float32 whatever the dtype of the activations.

Legend: B batch, N tokens, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from flashtalk.ops.channel_norm import channel_norm
from flashtalk.ops.eager import works_in_blocks


def rms_norm(x_BND: Tensor, weight_D: Tensor, eps: float) -> Tensor:
    """Root-mean-square norm over the last axis.

    Queries and keys are normalised over the full width, before the split into heads (Wan2.1).

    Args:
        x_BND: [..., D], any floating dtype.
        weight_D: [D] gain.
        eps: added to the mean square.

    Returns:
        [..., D] in the dtype of ``x_BND``.
    """
    if works_in_blocks(x_BND):
        return channel_norm(x_BND, weight_D, eps, activate=False)
    # Autocast promotes this norm to float32; the result is converted back.
    return F.rms_norm(x_BND, weight_D.shape, weight_D.to(x_BND.dtype), eps).to(x_BND.dtype)


def layer_norm(
    x_BND: Tensor, eps: float, weight_D: Tensor | None = None, bias_D: Tensor | None = None
) -> Tensor:
    """Layer norm over the last axis, computed and returned in float32.

    Args:
        x_BND: [..., D], any floating dtype.
        eps: added to the variance.
        weight_D, bias_D: [D] gain and offset; ``None`` for a norm without them.

    Returns:
        [..., D] float32, so that a modulation can follow without intermediate rounding.
    """
    weight = None if weight_D is None else weight_D.float()
    bias = None if bias_D is None else bias_D.float()
    return F.layer_norm(x_BND.float(), x_BND.shape[-1:], weight, bias, eps)


def modulate(x_BND: Tensor, shift_B1D: Tensor, scale_B1D: Tensor) -> Tensor:
    """``x * (1 + scale) + shift``, the adaptive norm of diffusion transformers.

    Args:
        x_BND: [B, N, D] float32.
        shift_B1D, scale_B1D: [B, 1, D] float32.

    Returns:
        [B, N, D] float32.
    """
    return torch.addcmul(shift_B1D, x_BND, scale_B1D + 1)


def modulated_norm(x_BND: Tensor, shift_B1D: Tensor, scale_B1D: Tensor, eps: float) -> Tensor:
    """``modulate(layer_norm(x))``, rounded once to the dtype of ``x``.

    Args:
        x_BND: [B, N, D] residual stream.
        shift_B1D, scale_B1D: [B, 1, D] float32.
        eps: added to the variance.

    Returns:
        [B, N, D] in the dtype of ``x_BND``.
    """
    if x_BND.shape[0] == 1 and works_in_blocks(x_BND):
        # One kernel: the modulation of one sample is an affine norm's gain and offset.
        gain_D, offset_D = (scale_B1D + 1).flatten(), shift_B1D.flatten()
        return F.layer_norm(x_BND, gain_D.shape, gain_D, offset_D, eps)
    return modulate(layer_norm(x_BND, eps), shift_B1D, scale_B1D).to(x_BND.dtype)


def gated_add(x_BND: Tensor, update_BND: Tensor, gate_B1D: Tensor) -> Tensor:
    """``x + update * gate`` in float32, rounded once to the dtype of ``x``.

    Args:
        x_BND: [B, N, D] residual stream.
        update_BND: [B, N, D] output of a sublayer.
        gate_B1D: [B, 1, D] float32.

    Returns:
        [B, N, D] in the dtype of ``x_BND``.
    """
    return torch.addcmul(x_BND.float(), update_BND.float(), gate_B1D).to(x_BND.dtype)
