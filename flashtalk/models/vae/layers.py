"""Causal convolution, norm, residual block and per-frame attention of the video VAE.

Shape suffixes: B batch, C channels, T frames, H W pixels of the running resolution, N = H*W,
F = B*T frames as a batch. Video tensors are BCTHW in channels_last_3d memory.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.models.vae.history import History
from flashtalk.ops.channel_norm import channel_norm, channel_norm_into
from flashtalk.ops.eager import works_in_blocks
from flashtalk.ops.linear import linear
from flashtalk.ops.video_convolution import as_frames, as_video, convolve

Margins = tuple[int, int, int, int]
"""Pixels wanted beyond the (left, right, top, bottom) border."""

NORM_EPS = 1e-12
"""Added to the mean square: nothing beside real activations, and finite gradients at zero."""


def zero_margins(x: Tensor, margins: Margins) -> Tensor:
    """Pads the whole picture with zeros. Sliced VAEs replace this with a halo exchange."""
    return F.pad(x, margins)


class RmsNorm(nn.Module):
    """x / |x| * sqrt(C) * gamma over the channels (Wan2.1 VAE ``RMS_norm``)."""

    def __init__(self, channels: int, spatial_dims: int = 3) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *(1,) * spatial_dims))

    def forward(self, x: Tensor, *, activate: bool = False) -> Tensor:
        """[B, C, ...] -> the same shape and dtype, channels last in memory.

        Args:
            x: activations.
            activate: whether to apply the SiLU that follows most of these norms.
        """
        gain_C = self.gamma.flatten()
        normed = channel_norm(x.movedim(1, -1), gain_C, NORM_EPS, activate=activate)
        return normed.movedim(-1, 1)

    def into(self, out_THWC: Tensor, x_THWC: Tensor) -> None:
        """Writes ``silu`` of the norm of ``x`` to ``out``, on a CPU without gradients."""
        gain_C, x_THWC = self.gamma.flatten(), x_THWC.contiguous()
        channel_norm_into(out_THWC, x_THWC, gain_C, NORM_EPS, activate=True)


class Pointwise(nn.Conv3d):
    """1x1x1 convolution: one matrix product over the channels, in place in channels-last memory."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_in, c_out, 1)

    def forward(self, x_BCTHW: Tensor, history: History | None = None) -> Tensor:
        """[B, C_in, T, H, W] -> [B, C_out, T, H, W]."""
        x_BTHWC = x_BCTHW.permute(0, 2, 3, 4, 1)
        return linear(x_BTHWC, self.weight.flatten(1), self.bias).permute(0, 4, 1, 2, 3)


class CausalConv3d(nn.Conv3d):
    """Convolution over this frame and the ``kernel_t - 1`` frames before it, zeros before frame 0.

    ``margins`` is the seam for spatial slicing: a replacement returns the rows and columns of the
    neighbouring slices instead of zeros.
    """

    def __init__(self, c_in: int, c_out: int, kernel: tuple[int, int, int]) -> None:
        super().__init__(c_in, c_out, kernel)
        self.memory = kernel[0] - 1
        self.margin = kernel[1] // 2
        self.margins: Callable[[Tensor, Margins], Tensor] = zero_margins

    def forward(self, x_BCTHW: Tensor, history: History | None = None) -> Tensor:
        """[B, C_in, T, H, W] -> [B, C_out, T, H, W]."""
        return self.spatial(self.with_past(x_BCTHW, history))

    def with_past(self, x_BCTHW: Tensor, history: History | None) -> Tensor:
        """Prepends the ``memory`` previous frames to the input; stores the tail in history."""
        if not self.memory:
            return x_BCTHW
        past = history.past_tail() if history is not None else None
        if past is None:
            past = torch.zeros_like(x_BCTHW[:, :, :1]).expand(-1, -1, self.memory, -1, -1)
        x_BCTHW = torch.cat((past, x_BCTHW), dim=2)
        self.keep_tail(x_BCTHW, history)
        return x_BCTHW

    def keep_tail(self, whole_BCTHW: Tensor, history: History | None) -> None:
        """Stores the last frames of the whole input in history."""
        if history is not None:
            history.keep(whole_BCTHW[:, :, -self.memory :])

    def spatial(self, x_BCTHW: Tensor) -> Tensor:
        """Applies the convolution to frames with their past already prepended."""
        margin = self.margin
        if margin and self.margins is not zero_margins:
            x_BCTHW = self.margins(x_BCTHW, (margin,) * 4)
            margin = 0
        return convolve(x_BCTHW, self.weight, self.bias, margin=margin)


def convolve_normed(
    norm: nn.Module, conv: nn.Module, x_BCTHW: Tensor, history: History | None
) -> Tensor:
    """Applies the causal convolution ``conv`` to ``silu(norm(x))``.

    If that saves a copy, the norm writes directly after the past frames.

    Args:
        norm, conv: a ``RmsNorm`` and the ``CausalConv3d`` after it in a published stack.
        x_BCTHW: [B, C_in, T, H, W].
        history: state of the stream.

    Returns:
        [B, C_out, T, H, W].
    """
    assert isinstance(norm, RmsNorm)
    assert isinstance(conv, CausalConv3d)
    batch, channels, frames, height, width = x_BCTHW.shape
    if batch > 1 or not conv.memory or not works_in_blocks(x_BCTHW):
        return conv(norm(x_BCTHW, activate=True), history)
    whole_THWC = x_BCTHW.new_empty((conv.memory + frames, height, width, channels))
    past = history.past_tail() if history is not None else None
    whole_THWC[: conv.memory] = 0 if past is None else past[0].permute(1, 2, 3, 0)
    norm.into(whole_THWC[conv.memory :], x_BCTHW[0].permute(1, 2, 3, 0))
    whole_BCTHW = whole_THWC.permute(3, 0, 1, 2).unsqueeze(0)
    conv.keep_tail(whole_BCTHW, history)
    return conv.spatial(whole_BCTHW)


class ResidualBlock(nn.Module):
    """Norm, SiLU, causal conv, twice, with a shortcut (Wan2.1 VAE ``ResidualBlock``)."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            RmsNorm(c_in),
            nn.Identity(),  # the norm applies the activation
            CausalConv3d(c_in, c_out, (3, 3, 3)),
            RmsNorm(c_out),
            nn.Identity(),
            nn.Identity(),  # the published dropout of rate 0; keeps the names of the next conv
            CausalConv3d(c_out, c_out, (3, 3, 3)),
        )
        self.shortcut = Pointwise(c_in, c_out) if c_in != c_out else nn.Identity()

    def forward(self, x_BCTHW: Tensor, history: History | None = None) -> Tensor:
        """[B, C_in, T, H, W] -> [B, C_out, T, H, W]."""
        norm1, _, conv1, norm2, _, _, conv2 = self.residual
        h = convolve_normed(norm1, conv1, x_BCTHW, history)
        h = convolve_normed(norm2, conv2, h, history)
        shortcut: Tensor = self.shortcut(x_BCTHW)
        return h + shortcut if torch.is_grad_enabled() else h.add_(shortcut)


class AttentionBlock(nn.Module):
    """Single-head self-attention inside each frame (Wan2.1 VAE ``AttentionBlock``).

    ``whole_frame`` is the seam for spatial slicing: it receives keys or values [F, 1, N, C] of
    this slice and returns those of the whole frame.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = RmsNorm(channels, spatial_dims=2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)
        self.whole_frame: Callable[[Tensor], Tensor] = lambda x: x

    def forward(self, x_BCTHW: Tensor, history: History | None = None) -> Tensor:
        """[B, C, T, H, W] -> the same shape; frames are independent."""
        x_FCHW = as_frames(x_BCTHW)
        size = x_FCHW.shape[2:]
        y_FNC = self.norm(x_FCHW).flatten(2).transpose(1, 2)
        qkv_F1NC = linear(y_FNC, self.to_qkv.weight.flatten(1), self.to_qkv.bias).unsqueeze(1)
        q, k, v = qkv_F1NC.chunk(3, dim=-1)
        y_F1NC = F.scaled_dot_product_attention(q, self.whole_frame(k), self.whole_frame(v))
        y_FNC = linear(y_F1NC.squeeze(1), self.proj.weight.flatten(1), self.proj.bias)
        y_FCHW = torch.unflatten(y_FNC.transpose(1, 2), 2, size)
        return x_BCTHW + as_video(y_FCHW, x_BCTHW.shape[0])
