"""Changes of resolution between the levels of the video VAE, and their linear shortcuts.

Frame 0 is separate in time: a temporal downsample passes it through and merges the frames after it
in pairs; a temporal upsample passes it through and turns every later frame into two.

Shape suffixes as in ``layers.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.models.vae.doubling import convolve_doubled
from flashtalk.models.vae.history import History
from flashtalk.models.vae.layers import (
    CausalConv3d,
    Margins,
    zero_margins,
)
from flashtalk.ops.eager import works_in_blocks
from flashtalk.ops.video_convolution import as_frames, as_video, convolve, convolve_frames

LARGEST_ELEMENTS = 1 << 30
"""Limit of the elements of one tensor. Kernels count elements in 32 bits: 33 frames of 192 channels
at 768x448, the last doubling of the published VAE, are 2.18e9, more than 2^31."""


class FrameConv(nn.Conv2d):
    """3x3 convolution of frames; the caller chooses the zero padding."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__(c_in, c_out, 3, stride=stride)

    def forward(self, x_FCHW: Tensor, margin: int = 0) -> Tensor:
        """[F, C_in, H, W] -> [F, C_out, H', W'], zero-padded by ``margin`` pixels."""
        return convolve_frames(x_FCHW, self.weight, self.bias, margin=margin, stride=self.stride[0])


class Downsample(nn.Module):
    """Strided 3x3 convolution, then a strided 3-tap convolution in time (Wan2.1 ``Resample``)."""

    def __init__(self, channels: int, *, spatial: bool, temporal: bool, shortcut: bool) -> None:
        super().__init__()
        self.spatial = spatial
        self.temporal = temporal
        self.linear_shortcut = shortcut
        self.margins: Callable[[Tensor, Margins], Tensor] = zero_margins
        if spatial:
            self.resample = nn.Sequential(nn.Identity(), FrameConv(channels, channels, stride=2))
        if temporal:
            self.time_conv = nn.Conv3d(channels, channels, (3, 1, 1), stride=(2, 1, 1))

    def forward(self, x_BCTHW: Tensor, history: History | None = None) -> Tensor:
        """[B, C, 1+2n, H, W] ([B, C, 2n, H, W] in a later step) -> half of each selected axis."""
        first = history is None or not history.started
        y = self.halve_space(x_BCTHW) if self.spatial else x_BCTHW
        if self.temporal:
            y = self.halve_time(y, history)
        if self.linear_shortcut:
            y = y + fold_mean(x_BCTHW, self.spatial, self.temporal, first=first)
        return y

    def halve_space(self, x_BCTHW: Tensor) -> Tensor:
        """Pads one row and one column at the bottom and right, then convolves with stride 2."""
        x_FCHW = self.margins(as_frames(x_BCTHW), (0, 1, 0, 1))
        return as_video(self.resample[1](x_FCHW), x_BCTHW.shape[0])

    def halve_time(self, x_BCTHW: Tensor, history: History | None) -> Tensor:
        """Passes frame 0, then takes every second position of a 3-tap causal convolution."""
        past = history.past_tail() if history is not None else None
        if history is not None:
            history.keep(x_BCTHW[:, :, -1:])
        if past is not None:
            return self.pairs(torch.cat((past, x_BCTHW), dim=2))
        if x_BCTHW.shape[2] == 1:
            return x_BCTHW
        return torch.cat((x_BCTHW[:, :, :1], self.pairs(x_BCTHW)), dim=2)

    def pairs(self, x_BCTHW: Tensor) -> Tensor:
        """[B, C, 1+2n, H, W] -> [B, C, n, H, W]: every pair with the frame before it."""
        return convolve(x_BCTHW, self.time_conv.weight, self.time_conv.bias, stride_t=2)


class Upsample(nn.Module):
    """A causal 3-tap convolution that doubles time, then nearest x2 and a 3x3 convolution
    to half the channels (Wan2.1 ``Resample``)."""

    def __init__(self, channels: int, *, spatial: bool, temporal: bool, shortcut: bool) -> None:
        super().__init__()
        self.spatial = spatial
        self.temporal = temporal
        self.linear_shortcut = shortcut
        self.channels_out = channels // 2 if spatial else channels
        self.margins: Callable[[Tensor, Margins], Tensor] = zero_margins
        if spatial:
            self.resample = nn.Sequential(nn.Identity(), FrameConv(channels, self.channels_out))
        if temporal:
            self.time_conv = CausalConv3d(channels, 2 * channels, (3, 1, 1))

    def forward(self, x_BCTHW: Tensor, history: History | None = None) -> Tensor:
        """[B, C, 1+n, H, W] ([B, C, n, H, W] in a later step) -> doubled along each selected
        axis; C is halved if space is doubled."""
        first = history is None or not history.started
        y = self.double_time(x_BCTHW, history) if self.temporal else x_BCTHW
        if self.spatial:
            y = self.double_space(y)
        if self.linear_shortcut:
            y = y + unfold_repeat(
                x_BCTHW, self.channels_out, self.spatial, self.temporal, first=first
            )
        return y

    def double_time(self, x_BCTHW: Tensor, history: History | None) -> Tensor:
        """Passes frame 0; the first frame after it has zeros in place of frame 0."""
        if history is not None and history.started:
            return interleave_time(self.time_conv(x_BCTHW, history))
        head, rest = x_BCTHW[:, :, :1], x_BCTHW[:, :, 1:]
        if rest.shape[2] == 0:
            if history is not None:
                history.keep(torch.zeros_like(head).expand(-1, -1, self.time_conv.memory, -1, -1))
            return head
        return torch.cat((head, interleave_time(self.time_conv(rest, history))), dim=2)

    def double_space(self, x_BCTHW: Tensor) -> Tensor:
        """Nearest neighbour x2, then the convolution, in batches of frames that kernels support."""
        frames_FCHW = as_frames(x_BCTHW)
        each = max(1, LARGEST_ELEMENTS // (4 * math.prod(frames_FCHW.shape[1:])))
        parts = [self._double_frames(x_FCHW) for x_FCHW in frames_FCHW.split(each)]
        y_FCHW = parts[0] if len(parts) == 1 else torch.cat(parts)
        return as_video(y_FCHW, x_BCTHW.shape[0])

    def _double_frames(self, x_FCHW: Tensor) -> Tensor:
        conv = self.resample[1]
        assert isinstance(conv, FrameConv)
        if works_in_blocks(x_FCHW):
            margin = 1
            if self.margins is not zero_margins:
                # A small pixel of the neighbour equals its upsampled pixels.
                x_FCHW, margin = self.margins(x_FCHW, (1, 1, 1, 1)), 0
            return convolve_doubled(x_FCHW, conv.weight, conv.bias, margin=margin)
        x_FCHW = F.interpolate(x_FCHW, scale_factor=2.0, mode="nearest")
        margin = 1
        if self.margins is not zero_margins:
            x_FCHW = self.margins(x_FCHW, (1, 1, 1, 1))
            margin = 0
        out: Tensor = conv(x_FCHW, margin)
        return out


def interleave_time(x_BCTHW: Tensor) -> Tensor:
    """[B, 2*C, T, H, W] -> [B, C, 2*T, H, W]; the first C channels are the earlier frame."""
    x_BTHW2C = torch.unflatten(x_BCTHW.permute(0, 2, 3, 4, 1), 4, (2, -1))
    return x_BTHW2C.permute(0, 1, 4, 2, 3, 5).flatten(1, 2).permute(0, 4, 1, 2, 3)


def fold_mean(x_BCTHW: Tensor, spatial: bool, temporal: bool, *, first: bool) -> Tensor:
    """Averages the pixels (and frame pairs) that a downsample merges.

    Parameter-free shortcut in the manner of DC-AE (arXiv 2410.10733, section 3.2): space-to-depth
    followed by the mean of each channel's group, which for equal widths is average pooling.
    Frame 0 of a stream has no partner and is averaged over space only.
    """
    if temporal:
        head = x_BCTHW[:, :, :1] if first else x_BCTHW[:, :, :0]
        rest = x_BCTHW[:, :, head.shape[2] :]
        rest = torch.unflatten(rest, 2, (-1, 2)).mean(dim=3) if rest.shape[2] else rest
        x_BCTHW = torch.cat((head, rest), dim=2) if head.shape[2] else rest
    if spatial:
        x_BCTHW = as_video(F.avg_pool2d(as_frames(x_BCTHW), 2), x_BCTHW.shape[0])
    return x_BCTHW


def unfold_repeat(
    x_BCTHW: Tensor, c_out: int, spatial: bool, temporal: bool, *, first: bool
) -> Tensor:
    """Distributes repeated channels to the pixels (and frames) that an upsample creates.

    The inverse direction of ``fold_mean`` (arXiv 2410.10733, section 3.2): channel duplication,
    then depth-to-space and depth-to-time. Frame 0 of a stream becomes one frame, the mean of the
    two frames that this would give.
    """
    channels = x_BCTHW.shape[1]
    cells = (4 if spatial else 1) * (2 if temporal else 1)
    repeats = -(-c_out * cells // channels)
    x_BCTHW = x_BCTHW.repeat_interleave(repeats, dim=1)[:, : c_out * cells]
    if temporal:
        pairs = torch.unflatten(x_BCTHW, 1, (-1, 2))
        skip = 1 if first else 0
        rest = pairs[:, :, :, skip:].permute(0, 1, 3, 2, 4, 5).flatten(2, 3)
        head = pairs[:, :, :, :skip].mean(dim=2)
        x_BCTHW = torch.cat((head, rest), dim=2) if skip else rest
    if spatial:
        x_BCTHW = as_video(F.pixel_shuffle(as_frames(x_BCTHW), 2), x_BCTHW.shape[0])
    return x_BCTHW
