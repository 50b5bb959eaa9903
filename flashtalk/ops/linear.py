"""Matrix products with a bias, optionally followed by GELU, with the fastest kernel.

On x86 processors inference uses oneDNN's product in float32 too, where PyTorch uses MKL's. MKL uses
half of the vector width of AMD's processors (105 GFLOP/s instead of 230 on a core of an EPYC, torch
2.13), and cannot fuse a bias or an activation.
"""

from __future__ import annotations

import platform

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.ops.activation import gelu_tanh
from flashtalk.ops.eager import on_cpu
from flashtalk.ops.widened import is_widened, wide

_X86 = ("x86_64", "AMD64")
_WIDENED_ELEMENTS = 1 << 19
_FEWEST_ROWS = 16  # with fewer rows reading the weights dominates


def _onednn_dtypes() -> tuple[torch.dtype, ...]:
    if not torch.backends.mkldnn.is_available() or platform.machine() not in _X86:
        return ()
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32, torch.bfloat16
    return (torch.float32,)


_ONEDNN_DTYPES = _onednn_dtypes()


def onednn_multiplies(dtype: torch.dtype) -> bool:
    """Whether oneDNN has products of this dtype on this processor."""
    return dtype in _ONEDNN_DTYPES


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, activate: bool = False
) -> Tensor:
    """``x weight^T + bias``, followed by the tanh form of GELU if ``activate``.

    Args:
        x: [..., K].
        weight: [N, K]; bias: [N]; same dtype as ``x``.
        activate: whether GELU follows.

    Returns:
        [..., N].
    """
    if is_widened(x):
        return _widened(x, weight, bias, activate=activate)
    if takes_onednn(x, weight):
        multiply = _operator if torch.compiler.is_compiling() else _multiply
        by_onednn: Tensor = multiply(x, weight, bias, activate)
        return by_onednn
    result = F.linear(x, weight, bias)
    return gelu_tanh(result) if activate else result


def _widened(x: Tensor, weight: Tensor, bias: Tensor | None, *, activate: bool) -> Tensor:
    """``linear`` in float32, one block of outputs at a time, so that the float32 copy of a part of
    the weight stays in the cache."""
    each = max(1, _WIDENED_ELEMENTS // weight.shape[1])
    wide_x, parts = x.float(), []
    biases = [None] * weight.shape[0] if bias is None else bias.split(each)
    for block, of_block in zip(weight.split(each), biases, strict=False):
        part = linear(wide_x, block.float(), wide(of_block), activate=activate)
        parts.append(part.to(x.dtype))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None, activate: bool) -> Tensor:
    kind, form = ("gelu", "tanh") if activate else ("none", "")
    # oneDNN's kernels for strided tensors are a thousand times slower.
    rows = x.contiguous()
    result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, kind, [], form)
    return result


# A single operator for the compiler, which supports oneDNN's only for its own packed weights.
_operator = torch.library.custom_op("flashtalk::onednn_linear", _multiply, mutates_args=())


@_operator.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, activate: bool) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


def takes_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether the product uses oneDNN: inference on a CPU, many rows, plain tensors."""
    return (
        on_cpu(x)
        and on_cpu(weight)
        and onednn_multiplies(x.dtype)
        and weight.dtype == x.dtype
        and weight.is_contiguous()
        and x.numel() >= _FEWEST_ROWS * x.shape[-1]
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )


class Linear(nn.Linear):
    """``nn.Linear`` that uses ``linear``."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., K] to [..., N]."""
        return linear(input, self.weight, self.bias)

    def activated(self, input: Tensor) -> Tensor:
        """Applies ``forward``, then the tanh form of GELU."""
        return linear(input, self.weight, self.bias, activate=True)


class FeedForward(nn.Sequential):
    """Two products with GELU between them, under the names of the published sequence."""

    def __init__(self, width: int, inner_width: int, out_width: int | None = None) -> None:
        # The first product applies the activation; a placeholder keeps the later names.
        super().__init__(
            Linear(width, inner_width), nn.Identity(), Linear(inner_width, out_width or width)
        )

    def forward(self, input: Tensor) -> Tensor:
        """[..., width] to [..., out_width]."""
        first, _, last = self
        inner: Tensor = first.activated(input)  # type: ignore[operator]
        out: Tensor = last(inner)
        return out
