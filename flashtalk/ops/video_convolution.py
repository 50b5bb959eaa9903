"""Convolutions of videos and of their frames, the same kernel for any number of frames.

Legend: B batch, C channels, T frames, H W pixels of the running resolution, F = B*T frames as a
batch. Video tensors are BCTHW in channels_last_3d memory, so that ``as_frames`` and ``as_video``
are views.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from flashtalk.ops.convolution import convolve_columns, onednn_convolution, takes_onednn
from flashtalk.ops.linear import linear
from flashtalk.ops.widened import is_widened, wide


def as_frames(x_BCTHW: Tensor) -> Tensor:
    """Frames as a batch, [B*T, C, H, W], channels_last; a view in channels_last_3d memory."""
    x_BTHWC = x_BCTHW.permute(0, 2, 3, 4, 1)
    return x_BTHWC.reshape(-1, *x_BTHWC.shape[2:]).permute(0, 3, 1, 2)


def as_video(x_FCHW: Tensor, batch: int) -> Tensor:
    """The inverse of ``as_frames``."""
    return torch.unflatten(x_FCHW, 0, (batch, -1)).permute(0, 2, 1, 3, 4)


def convolve(
    x_BCTHW: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    margin: int = 0,
    stride_t: int = 1,
    stride_hw: int = 1,
) -> Tensor:
    """3D convolution without temporal padding, in channels_last_3d memory.

    Float32 inference on a CPU always uses oneDNN's kernel, or without oneDNN one 2D convolution per
    temporal tap with the frames as the batch (docs/vae.md). So the choice of the kernel does not
    depend on the number of frames, and streamed and whole results differ only by rounding.

    Args:
        x_BCTHW: [B, C, T, H, W].
        weight: [C_out, C, T, H, W].
        bias: [C_out].
        margin: zero padding of rows and columns; none in time.
        stride_t: stride of the frames.
        stride_hw: stride of the rows and columns.
    """
    if is_widened(x_BCTHW):
        widened = convolve(
            x_BCTHW.float(),
            weight.float(),
            wide(bias),
            margin=margin,
            stride_t=stride_t,
            stride_hw=stride_hw,
        )
        return widened.to(x_BCTHW.dtype)
    stride = (stride_t, stride_hw, stride_hw)
    x_BCTHW = x_BCTHW.contiguous(memory_format=torch.channels_last_3d)
    exact = x_BCTHW.dtype == torch.float32 and x_BCTHW.device.type == "cpu"
    onednn = takes_onednn(x_BCTHW)
    if exact and not onednn and (x_BCTHW.shape[0] == 1 or not torch.is_grad_enabled()):
        return _convolve_by_taps(x_BCTHW, weight, bias, margin=margin, stride=stride)
    weight = weight.contiguous(memory_format=torch.channels_last_3d)
    if onednn:
        return onednn_convolution(x_BCTHW, weight, bias, margin=margin, stride=stride)
    return convolve_columns(
        F.conv3d,
        x_BCTHW,
        weight,
        bias,
        stride_w=stride_hw,
        margin_w=margin,
        padding=(0, margin, margin),
        stride=stride,
    )


def _convolve_by_taps(
    x_BCTHW: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    margin: int,
    stride: tuple[int, int, int],
) -> Tensor:
    stride_t, stride_hw, _ = stride
    taps = weight.shape[2]
    span = x_BCTHW.shape[2] - taps + 1
    out_FCHW: Tensor | None = None
    for tap in range(taps):
        x_FCHW = as_frames(x_BCTHW[:, :, tap : tap + span : stride_t])
        part = convolve_frames(
            x_FCHW, weight[:, :, tap], None if tap else bias, margin=margin, stride=stride_hw
        )
        out_FCHW = part if out_FCHW is None else out_FCHW.add_(part)
    assert out_FCHW is not None
    return as_video(out_FCHW, x_BCTHW.shape[0])


def convolve_frames(
    x_FCHW: Tensor, weight: Tensor, bias: Tensor | None, *, margin: int = 0, stride: int = 1
) -> Tensor:
    """2D convolution of frames in channels_last memory.

    On a CPU without oneDNN a single frame runs as a batch of two: alone it would use another
    kernel, with other bits. So would some 1x1 convolutions; those are matrix products here.
    """
    if weight.shape[2:] == (1, 1) and stride == 1:
        return linear(x_FCHW.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
    if is_widened(x_FCHW):
        widened = convolve_frames(
            x_FCHW.float(), weight.float(), wide(bias), margin=margin, stride=stride
        )
        return widened.to(x_FCHW.dtype)
    onednn = takes_onednn(x_FCHW)
    alone = x_FCHW.shape[0] == 1 and x_FCHW.device.type == "cpu" and not onednn
    if alone:
        x_FCHW = x_FCHW.expand(2, -1, -1, -1)
    x_FCHW = x_FCHW.contiguous(memory_format=torch.channels_last)
    weight = weight.contiguous(memory_format=torch.channels_last)
    if onednn:
        return onednn_convolution(x_FCHW, weight, bias, margin=margin, stride=(stride, stride))
    y_FCHW = convolve_columns(
        F.conv2d,
        x_FCHW,
        weight,
        bias,
        stride_w=stride,
        margin_w=margin,
        padding=margin,
        stride=stride,
    )
    return y_FCHW[:1] if alone else y_FCHW
