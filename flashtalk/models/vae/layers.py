"""Causal convolution, norm, residual block and per-frame attention of the video VAE.

Shape suffixes: B batch, C channels, T frames, H W pixels of the running resolution, N = H*W,
F = B*T frames as a batch. Video tensors are BCTHW in channels_last_3d memory, so that
``as_frames`` and ``as_video`` are views.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.models.vae.history import History
from flashtalk.ops.convolution import convolve_columns

Margins = tuple[int, int, int, int]
"""Pixels wanted beyond the (left, right, top, bottom) border."""

NORM_EPS = 1e-12
"""Added to the mean square: nothing beside real activations, and finite gradients at zero."""


def as_frames(x_BCTHW: Tensor) -> Tensor:
    """Frames as a batch, [B*T, C, H, W], channels_last; a view in channels_last_3d memory."""
    x_BTHWC = x_BCTHW.permute(0, 2, 3, 4, 1)
    return x_BTHWC.reshape(-1, *x_BTHWC.shape[2:]).permute(0, 3, 1, 2)


def as_video(x_FCHW: Tensor, batch: int) -> Tensor:
    """The inverse of ``as_frames``."""
    return torch.unflatten(x_FCHW, 0, (batch, -1)).permute(0, 2, 1, 3, 4)


def zero_margins(x: Tensor, margins: Margins) -> Tensor:
    """The whole picture's border: zeros. Sliced VAEs put a neighbour exchange in its place."""
    return F.pad(x, margins)


class RmsNorm(nn.Module):
    """x / |x| * sqrt(C) * gamma over the channels (Wan2.1 VAE ``RMS_norm``)."""

    def __init__(self, channels: int, spatial_dims: int = 3) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *(1,) * spatial_dims))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] -> the same shape and dtype, channels last in memory."""
        x_last = x.movedim(1, -1).contiguous()
        # One dtype for both, also under autocast: only then does the fused kernel run.
        gamma = self.gamma.flatten().to(x.dtype)
        return F.rms_norm(x_last, x_last.shape[-1:], gamma, NORM_EPS).movedim(-1, 1)


class Silu(nn.Module):
    """x * sigmoid(x); overwrites its input when no gradient is wanted (it is a norm's output)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x, inplace=not torch.is_grad_enabled())


class Pointwise(nn.Conv3d):
    """1x1x1 convolution: one matrix product over the channels, in place in channels-last memory."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_in, c_out, 1)

    def forward(self, x_BCTHW: Tensor, history: History | None = None) -> Tensor:
        """[B, C_in, T, H, W] -> [B, C_out, T, H, W]."""
        x_BTHWC = x_BCTHW.permute(0, 2, 3, 4, 1)
        return F.linear(x_BTHWC, self.weight.flatten(1), self.bias).permute(0, 4, 1, 2, 3)


class CausalConv3d(nn.Conv3d):
    """Convolution that sees this frame and ``kernel_t - 1`` frames before it, zeros before frame 0.

    ``margins`` is the seam for spatial slicing: replaced from outside, it supplies the rows and
    columns of the neighbouring slices where the default supplies zeros.
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
        """The input with its ``memory`` previous frames in front; leaves the tail in history."""
        if not self.memory:
            return x_BCTHW
        past = history.past_tail() if history is not None else None
        if past is None:
            x_BCTHW = F.pad(x_BCTHW, (0, 0, 0, 0, self.memory, 0))
        else:
            x_BCTHW = torch.cat((past, x_BCTHW), dim=2)
        if history is not None:
            history.keep(x_BCTHW[:, :, -self.memory :])
        return x_BCTHW

    def spatial(self, x_BCTHW: Tensor) -> Tensor:
        """The convolution itself over frames that already have their past in front."""
        margin = self.margin
        if margin and self.margins is not zero_margins:
            x_BCTHW = self.margins(x_BCTHW, (margin,) * 4)
            margin = 0
        return convolve(x_BCTHW, self.weight, self.bias, margin=margin)


def convolve(
    x_BCTHW: Tensor, weight: Tensor, bias: Tensor | None, *, margin: int = 0, stride_t: int = 1
) -> Tensor:
    """3D convolution without temporal padding, in channels_last_3d memory.

    PyTorch sends a single float32 video on a CPU to a slow im2col kernel; one 2D convolution per
    temporal tap, with the frames as the batch, is 3 to 40 times faster there (docs/vae.md).
    Inference in float32 on a CPU always takes that form: which one is taken then never depends on
    how many frames follow, and streamed stays as close to whole as rounding lets it.
    """
    x_BCTHW = x_BCTHW.contiguous(memory_format=torch.channels_last_3d)
    exact = x_BCTHW.dtype == torch.float32 and x_BCTHW.device.type == "cpu"
    if not exact or (x_BCTHW.shape[0] > 1 and torch.is_grad_enabled()):
        weight = weight.contiguous(memory_format=torch.channels_last_3d)
        return convolve_columns(
            F.conv3d, x_BCTHW, weight, bias, stride_w=1, margin_w=margin,
            padding=(0, margin, margin), stride=(stride_t, 1, 1),
        )  # fmt: skip
    taps = weight.shape[2]
    span = x_BCTHW.shape[2] - taps + 1
    out_FCHW: Tensor | None = None
    for tap in range(taps):
        x_FCHW = as_frames(x_BCTHW[:, :, tap : tap + span : stride_t])
        part = convolve_frames(x_FCHW, weight[:, :, tap], None if tap else bias, margin=margin)
        out_FCHW = part if out_FCHW is None else out_FCHW.add_(part)
    assert out_FCHW is not None
    return as_video(out_FCHW, x_BCTHW.shape[0])


def convolve_frames(
    x_FCHW: Tensor, weight: Tensor, bias: Tensor | None, *, margin: int = 0, stride: int = 1
) -> Tensor:
    """2D convolution of frames in channels_last memory.

    A single frame goes as a batch of two: alone it would take another kernel on a CPU, with
    other bits. So would some 1x1 convolutions; those are matrix products here.
    """
    if weight.shape[2:] == (1, 1) and stride == 1:
        return F.linear(x_FCHW.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
    alone = x_FCHW.shape[0] == 1 and x_FCHW.device.type == "cpu"
    if alone:
        x_FCHW = x_FCHW.expand(2, -1, -1, -1)
    x_FCHW = x_FCHW.contiguous(memory_format=torch.channels_last)
    weight = weight.contiguous(memory_format=torch.channels_last)
    y_FCHW = convolve_columns(
        F.conv2d, x_FCHW, weight, bias, stride_w=stride, margin_w=margin,
        padding=margin, stride=stride,
    )  # fmt: skip
    return y_FCHW[:1] if alone else y_FCHW


class ResidualBlock(nn.Module):
    """Norm, SiLU, causal conv, twice, around a shortcut (Wan2.1 VAE ``ResidualBlock``)."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            RmsNorm(c_in),
            Silu(),
            CausalConv3d(c_in, c_out, (3, 3, 3)),
            RmsNorm(c_out),
            Silu(),
            nn.Identity(),  # the published dropout of rate 0; keeps the names of the next conv
            CausalConv3d(c_out, c_out, (3, 3, 3)),
        )
        self.shortcut = Pointwise(c_in, c_out) if c_in != c_out else nn.Identity()

    def forward(self, x_BCTHW: Tensor, history: History | None = None) -> Tensor:
        """[B, C_in, T, H, W] -> [B, C_out, T, H, W]."""
        norm1, act1, conv1, norm2, act2, _, conv2 = self.residual
        h = conv1(act1(norm1(x_BCTHW)), history)
        h = conv2(act2(norm2(h)), history)
        y: Tensor = h + self.shortcut(x_BCTHW)
        return y


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
        """[B, C, T, H, W] -> the same shape; frames do not see each other."""
        x_FCHW = as_frames(x_BCTHW)
        size = x_FCHW.shape[2:]
        y_FNC = self.norm(x_FCHW).flatten(2).transpose(1, 2)
        qkv_F1NC = F.linear(y_FNC, self.to_qkv.weight.flatten(1), self.to_qkv.bias).unsqueeze(1)
        q, k, v = qkv_F1NC.chunk(3, dim=-1)
        y_F1NC = F.scaled_dot_product_attention(q, self.whole_frame(k), self.whole_frame(v))
        y_FNC = F.linear(y_F1NC.squeeze(1), self.proj.weight.flatten(1), self.proj.bias)
        y_FCHW = torch.unflatten(y_FNC.transpose(1, 2), 2, size)
        return x_BCTHW + as_video(y_FCHW, x_BCTHW.shape[0])
