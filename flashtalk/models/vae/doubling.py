"""Nearest-neighbour x2 upsampling fused with a 3x3 convolution, at the size before upsampling.

At most four of the nine input pixels of the convolution differ. So every output pixel is a 2x2
convolution of the small picture; its taps are sums of the nine, with one set for each of the four
positions in a doubled pixel. This needs 4/9 of the operations and no upsampled picture.

Shape suffixes as in ``layers.py``; O output channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flashtalk.ops.video_convolution import convolve_frames


def summed_taps(weight_OCHW: Tensor) -> Tensor:
    """[O, C, 3, 3] to [4 * O, C, 2, 2]: upper left, upper right, lower left, lower right pixel."""
    upper, lower = _halves(weight_OCHW.float(), 2)
    parts = [*_halves(upper, 3), *_halves(lower, 3)]
    return torch.cat(parts).to(weight_OCHW.dtype)


def _halves(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Reduces three taps along an axis to two, for the first and for the second of two equal
    pixels: the first shares its pixel with the next tap, the second with the previous one."""
    before, here, after = weight.unbind(axis)
    return (
        torch.stack((before, here + after), axis),
        torch.stack((before + here, after), axis),
    )


def convolve_doubled(
    x_FCHW: Tensor, weight_OCHW: Tensor, bias_O: Tensor | None, *, margin: int
) -> Tensor:
    """Computes the 3x3 convolution of frames after nearest-neighbour x2, on a CPU.

    Args:
        x_FCHW: the frames before upsampling.
        weight_OCHW: [O, C, 3, 3].
        bias_O: [O].
        margin: 1 pads the picture with zeros; 0 means that ``x`` has a margin of one small pixel.

    Returns:
        [F, O, 2 * H, 2 * W], H and W without the margin; channels last in memory.
    """
    outputs = weight_OCHW.shape[0]
    bias = None if bias_O is None else bias_O.repeat(4)
    # Row i of this is the window of small rows i - 1 and i: the upper pixel's of row i, and the
    # lower pixel's of row i - 1.
    y_FCHW = convolve_frames(x_FCHW, summed_taps(weight_OCHW), bias, margin=margin)
    y_FHWC = y_FCHW.permute(0, 2, 3, 1)
    frames, height, width = y_FHWC.shape[0], y_FHWC.shape[1] - 1, y_FHWC.shape[2] - 1
    out_FHWC = y_FHWC.new_empty((frames, 2 * height, 2 * width, outputs))
    for place in range(4):
        below, right = divmod(place, 2)
        rows, columns = slice(below, below + height), slice(right, right + width)
        channels = slice(place * outputs, (place + 1) * outputs)
        out_FHWC[:, below::2, right::2] = y_FHWC[:, rows, columns, channels]
    return out_FHWC.permute(0, 3, 1, 2)
