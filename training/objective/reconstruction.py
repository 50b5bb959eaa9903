"""Losses and quality of a video autoencoder.

Legend: B batch, T frames, H W pixels, C colour or latent channels, F h w latent axes.
"""

import math

import torch
from torch import Tensor


def gradient_difference(video_BCTHW: Tensor, target_BCTHW: Tensor) -> Tensor:
    """Returns the absolute difference of spatial gradients, averaged over both directions.

    The result is a [B, 1, T, H, W] map; the last row and column repeat their neighbours' zeros.
    """
    error_BCTHW = video_BCTHW - target_BCTHW
    vertical = error_BCTHW.diff(dim=-2).abs().mean(1, keepdim=True)
    horizontal = error_BCTHW.diff(dim=-1).abs().mean(1, keepdim=True)
    vertical = torch.nn.functional.pad(vertical, (0, 0, 0, 1))
    horizontal = torch.nn.functional.pad(horizontal, (0, 1))
    return 0.5 * (vertical + horizontal)


def reconstruction_loss(
    video_BCTHW: Tensor,
    target_BCTHW: Tensor,
    weight_B1THW: Tensor,
    *,
    l1: float = 1.0,
    mse: float = 0.0,
    gradient: float = 0.5,
) -> Tensor:
    """Returns the weighted mean of ``l1 |e| + mse e^2 + gradient |grad e|`` in float32.

    Args:
        video_BCTHW, target_BCTHW: [B, 3, T, H, W] in [-1, 1].
        weight_B1THW: non-negative pixel weights; normalised to mean 1 here.
    """
    error = (video_BCTHW - target_BCTHW).float()
    loss_B1THW = l1 * error.abs().mean(1, keepdim=True)
    if mse:
        loss_B1THW = loss_B1THW + mse * error.square().mean(1, keepdim=True)
    if gradient:
        loss_B1THW = loss_B1THW + gradient * gradient_difference(video_BCTHW, target_BCTHW)
    return (loss_B1THW * weight_B1THW).sum() / weight_B1THW.expand_as(loss_B1THW).sum()


def kl_divergence(mean_BCFHW: Tensor, logvar_BCFHW: Tensor) -> Tensor:
    """Returns the KL of the diagonal Gaussian posterior to N(0, I), averaged over elements."""
    logvar = logvar_BCFHW.float().clamp(-30.0, 20.0)
    return 0.5 * (mean_BCFHW.float().square() + logvar.exp() - 1.0 - logvar).mean()


def weighted_psnr_db(video: Tensor, target: Tensor, weight: Tensor | None = None) -> float:
    """Returns the peak signal-to-noise ratio in dB of [-1, 1] video (peak 2), may be weighted."""
    squared = (video.float() - target.float()).square()
    if weight is None:
        error = float(squared.mean())
    else:
        wide = weight.expand_as(squared)
        error = float((squared * wide).sum() / wide.sum().clamp_min(1e-9))
    return 10.0 * math.log10(4.0 / max(error, 1e-12))


def box_weight(
    boxes_BT4: Tensor, height_px: int, width_px: int, *, inside: float = 1.0, outside: float = 0.0
) -> Tensor:
    """Returns pixel weights [B, 1, T, H, W] of boxes (top, left, bottom, right, end excluded)."""
    rows_H = torch.arange(height_px, device=boxes_BT4.device) + 0.5
    columns_W = torch.arange(width_px, device=boxes_BT4.device) + 0.5
    top, left, bottom, right = boxes_BT4[..., None].unbind(-2)
    in_rows_BTH = (rows_H >= top) & (rows_H < bottom)
    in_columns_BTW = (columns_W >= left) & (columns_W < right)
    mask_BTHW = in_rows_BTH[..., :, None] & in_columns_BTW[..., None, :]
    return torch.where(mask_BTHW, inside, outside)[:, None]
