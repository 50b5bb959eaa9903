"""Patches, convolutions, the norm and the residual block of the LTX video VAE.

Shape suffixes: B batch, C channels, T frames, H W pixels of the running resolution. Video tensors
are BCTHW in channels_last_3d memory.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flashtalk.models.ltx_vae.config import PATCH_PX
from flashtalk.ops.channel_norm import channel_norm, channel_norm_into
from flashtalk.ops.eager import works_in_blocks
from flashtalk.ops.linear import linear
from flashtalk.ops.video_convolution import convolve

RGB = 3
NORM_EPS = 1e-8
"""Added to the mean square of the pixel norm."""


def to_patches(video_BCTHW: Tensor) -> Tensor:
    """4x4 pixels to channels, [B, 3, T, H, W] to [B, 48, T, H/4, W/4].

    The channel is colour * 16 + column * 4 + row: columns before rows.
    """
    x_BCTHRWQ = video_BCTHW.unflatten(4, (-1, PATCH_PX)).unflatten(3, (-1, PATCH_PX))
    return _channels_second(x_BCTHRWQ.permute(0, 2, 3, 5, 1, 6, 4).flatten(4))


def from_patches(x_BCTHW: Tensor) -> Tensor:
    """The inverse of ``to_patches``; the colours of a pixel are adjacent in memory."""
    x_BTHWCQR = _channels_last(x_BCTHW).unflatten(4, (RGB, PATCH_PX, PATCH_PX))
    pixels_BTHRWQC = x_BTHWCQR.permute(0, 1, 2, 6, 3, 5, 4)
    return _channels_second(pixels_BTHRWQC.flatten(4, 5).flatten(2, 3))


def pixel_norm(x_BCTHW: Tensor, *, activate: bool) -> Tensor:
    """``x / sqrt(mean(x^2) + 1e-8)`` over the channels, and ``silu`` of it where ``activate``."""
    return _channels_second(
        channel_norm(_channels_last(x_BCTHW), None, NORM_EPS, activate=activate)
    )


class VideoConv(nn.Module):
    """3x3x3 convolution: zeros around the picture, repeated frames before and after the video.

    Args:
        c_in, c_out: channels.
        causal: whether a frame depends on itself and earlier ones: then the first frame comes
            twice more in front. Otherwise it comes once more, and the last once more at the end.
        stride: of frames, rows and columns.
    """

    def __init__(self, c_in: int, c_out: int, *, causal: bool, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(c_in, c_out, 3, stride=stride)
        self.front, self.back = (2, 0) if causal else (1, 1)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, C_in, T, H, W] -> [B, C_out, T, H, W]; with stride 2 half of each, rounded up."""
        first = x_BCTHW[:, :, :1].expand(-1, -1, self.front, -1, -1)
        last = x_BCTHW[:, :, -1:].expand(-1, -1, self.back, -1, -1)
        return self._convolve(torch.cat((first, x_BCTHW, last), dim=2))

    def of_normed(self, x_BCTHW: Tensor) -> Tensor:
        """``forward`` of ``silu(pixel_norm(x))``; shapes of ``forward``.

        Without gradients the norm writes between the repeated frames, which saves a copy. A
        compiler does that itself.
        """
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self(pixel_norm(x_BCTHW, activate=True))
        x_BTHWC = _channels_last(x_BCTHW).contiguous()
        batch, frames, *rest = x_BTHWC.shape
        whole_BTHWC = x_BTHWC.new_empty((batch, self.front + frames + self.back, *rest))
        end = self.front + frames
        normed_into(whole_BTHWC[:, self.front : end], x_BTHWC)
        whole_BTHWC[:, : self.front] = whole_BTHWC[:, self.front, None]
        whole_BTHWC[:, end:] = whole_BTHWC[:, end - 1, None]
        return self._convolve(_channels_second(whole_BTHWC))

    def _convolve(self, x_BCTHW: Tensor) -> Tensor:
        conv, stride = self.conv, self.conv.stride[0]
        return convolve(
            x_BCTHW, conv.weight, conv.bias, margin=1, stride_t=stride, stride_hw=stride
        )


def normed_into(out_BTHWC: Tensor, x_BTHWC: Tensor) -> None:
    """Writes ``silu(pixel_norm(x))`` to ``out``, without gradients.

    Args:
        out_BTHWC: consecutive frames of a contiguous tensor.
        x_BTHWC: contiguous, of the same shape and dtype.
    """
    if works_in_blocks(x_BTHWC):
        for out_THWC, x_THWC in zip(out_BTHWC, x_BTHWC, strict=True):
            channel_norm_into(out_THWC, x_THWC, None, NORM_EPS, activate=True)
    else:
        normed_BTHWC = channel_norm(x_BTHWC, None, NORM_EPS, activate=False)
        torch.ops.aten.silu.out(normed_BTHWC, out=out_BTHWC)


class Pointwise(nn.Module):
    """1x1x1 convolution: one matrix product over the channels."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(c_in, c_out, 1)

    def forward(self, x_BTHWC: Tensor) -> Tensor:
        """[B, T, H, W, C_in] -> [B, T, H, W, C_out]: the channels are last."""
        return linear(x_BTHWC, self.conv.weight.flatten(1), self.conv.bias)


class ResidualBlock(nn.Module):
    """Pixel norm, SiLU, convolution, twice, with a shortcut (LTX VAE ``ResnetBlock3D``).

    Where the width changes, the shortcut is a layer norm over the channels and a 1x1x1
    convolution.

    Args:
        c_in, c_out: channels.
        causal: of the convolutions.
        eps: of the layer norm.
    """

    def __init__(self, c_in: int, c_out: int, *, causal: bool, eps: float) -> None:
        super().__init__()
        self.conv1 = VideoConv(c_in, c_out, causal=causal)
        self.conv2 = VideoConv(c_out, c_out, causal=causal)
        self.changes_width = c_in != c_out
        if self.changes_width:
            self.norm3 = nn.LayerNorm(c_in, eps=eps)
            self.conv_shortcut = Pointwise(c_in, c_out)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, C_in, T, H, W] -> [B, C_out, T, H, W]."""
        h_BCTHW = self.conv2.of_normed(self.conv1.of_normed(x_BCTHW))
        shortcut_BCTHW = self._shortcut(x_BCTHW)
        if torch.is_grad_enabled():
            return h_BCTHW + shortcut_BCTHW
        return h_BCTHW.add_(shortcut_BCTHW)

    def _shortcut(self, x_BCTHW: Tensor) -> Tensor:
        if not self.changes_width:
            return x_BCTHW
        # Autocast promotes the norm to float32; the result is converted back.
        normed_BTHWC = self.norm3(_channels_last(x_BCTHW)).to(x_BCTHW.dtype)
        return _channels_second(self.conv_shortcut(normed_BTHWC))


class Upsample(nn.Module):
    """Doubles frames, rows and columns: a convolution to 8 C channels, which become positions.

    The channel is C * 8 + frame * 4 + row * 2 + column. The first frame of the result is cut, so
    that T frames become 2 T - 1.
    """

    def __init__(self, channels: int, *, causal: bool) -> None:
        super().__init__()
        self.conv = VideoConv(channels, 8 * channels, causal=causal)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, C, 2 T - 1, 2 H, 2 W]."""
        y_BTHWC = _channels_last(self.conv(x_BCTHW))
        y_BTHWCtrc = y_BTHWC.unflatten(4, (-1, 2, 2, 2))
        y_BTtHrWcC = y_BTHWCtrc.permute(0, 1, 5, 2, 6, 3, 7, 4)
        doubled_BTHWC = y_BTtHrWcC.flatten(5, 6).flatten(3, 4).flatten(1, 2)
        return _channels_second(doubled_BTHWC[:, 1:])


def _channels_last(x_BCTHW: Tensor) -> Tensor:
    return x_BCTHW.permute(0, 2, 3, 4, 1)


def _channels_second(x_BTHWC: Tensor) -> Tensor:
    return x_BTHWC.permute(0, 4, 1, 2, 3)
