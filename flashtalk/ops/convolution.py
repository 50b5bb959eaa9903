"""Runs CPU convolutions with unreliable half-precision kernels in float32.

With AMX, oneDNN 3.12 (torch 2.13) silently computes some bfloat16 convolutions wrongly: grouped
ones with a long kernel (measured on the positional convolution of Wav2Vec2: mean error 0.128 of a
mean magnitude 0.49 in the large model, and more than the result itself in the tiny one), those with
a single input channel (pytorch/pytorch issue 163347) and strided ones with a result one column wide
(issue 169688). All compared plain convolutions were correct; ``flashtalk doctor`` compares them on
the current machine.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flashtalk.ops.eager import on_cpu

_HALF = (torch.bfloat16, torch.float16)
_X86 = ("x86_64", "AMD64")
_HAS_ONEDNN = torch.backends.mkldnn.is_available() and platform.machine() in _X86
Convolution = Callable[..., Tensor]


def is_half_on_cpu(x: Tensor) -> bool:
    """Whether a convolution of ``x`` would run in half precision on a CPU, autocast included."""
    if x.device.type != "cpu":
        return False
    return x.dtype in _HALF or torch.is_autocast_enabled("cpu")


def takes_onednn(x: Tensor) -> bool:
    """Whether ``onednn_convolution`` is the kernel for ``x``: float32 inference on an x86 CPU.

    PyTorch's own choice for a single float32 video is an im2col kernel, up to 30 times slower, and
    it depends on batch and threads.
    """
    exact = x.dtype == torch.float32 and on_cpu(x)
    return _HAS_ONEDNN and exact and not torch.is_grad_enabled() and not is_half_on_cpu(x)


def onednn_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, margin: int, stride: Sequence[int]
) -> Tensor:
    """2D or 3D convolution with oneDNN, for any batch size.

    Args:
        x: [B, C, (T,) H, W].
        weight: [C_out, C, (T,) H, W].
        bias: [C_out].
        margin: zero padding of rows and columns; none in time.
        stride: stride of every axis.
    """
    convolve = _operator if torch.compiler.is_compiling() else _convolve
    result: Tensor = convolve(x, weight, bias, margin, list(stride))
    return result


def _convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, margin: int, stride: list[int]
) -> Tensor:
    axes = x.ndim - 2
    padding = [0] * (axes - 2) + [margin, margin]
    result: Tensor = torch.mkldnn_convolution(x, weight, bias, padding, stride, [1] * axes, 1)
    return result


# A single operator for the compiler: torch has no meta implementation of oneDNN's operator.
_operator = torch.library.custom_op("flashtalk::onednn_convolution", _convolve, mutates_args=())


@_operator.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, margin: int, stride: list[int]) -> Tensor:
    axes = x.ndim - 2
    padding = [0] * (axes - 2) + [margin, margin]
    sizes = [
        (n + 2 * pad - taps) // step + 1
        for n, pad, taps, step in zip(x.shape[2:], padding, weight.shape[2:], stride, strict=True)
    ]
    layout = torch.channels_last_3d if axes == 3 else torch.channels_last
    return torch.empty(
        (x.shape[0], weight.shape[0], *sizes), dtype=x.dtype, device=x.device, memory_format=layout
    )


def is_reliable_in_half(
    in_channels: int, out_columns: int, *, groups: int = 1, stride_w: int = 1
) -> bool:
    """Whether a half-precision convolution of this form is correct on every CPU (see module)."""
    return groups == 1 and in_channels > 1 and (stride_w == 1 or out_columns > 1)


def in_float32(layer: nn.Module, x: Tensor) -> Tensor:
    """Runs a layer, on a CPU always in float32, independent of its weights and autocast.

    Args:
        layer: any module with one input tensor; gradients reach its own parameters.
        x: its input.

    Returns:
        ``layer(x)`` in the dtype of ``x``.
    """
    if not is_half_on_cpu(x):
        result: Tensor = layer(x)
        return result
    weights = {name: weight.float() for name, weight in layer.named_parameters()}
    with torch.autocast("cpu", enabled=False):
        exact: Tensor = torch.func.functional_call(layer, weights, (x.float(),))
    return exact.to(x.dtype)


def convolve_columns(
    function: Convolution,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride_w: int,
    margin_w: int,
    **shape: Any,
) -> Tensor:
    """``function(x, weight, bias, **shape)`` of torch.nn.functional, in float32 if necessary.

    Args:
        function: ``F.conv2d`` or ``F.conv3d``, ungrouped.
        x: [..., W].
        weight, bias: parameters of the function.
        stride_w, margin_w: stride and padding of the last axis, also contained in ``shape``.
        shape: padding and stride of all axes.
    """
    columns = (x.shape[-1] + 2 * margin_w - weight.shape[-1]) // stride_w + 1
    reliable = is_reliable_in_half(x.shape[1], columns, stride_w=stride_w)
    if reliable or not is_half_on_cpu(x):
        return function(x, weight, bias, **shape)
    with torch.autocast("cpu", enabled=False):
        exact = function(x.float(), weight.float(), None if bias is None else bias.float(), **shape)
    return exact.to(x.dtype)
