"""Linear layers with float8 (E4M3) weights and inputs, with one scale per row.

The product is ``torch._scaled_mm`` on GPUs of compute capability 8.9 and later. Elsewhere the same
numbers are multiplied in the dtype of the input: slow, for measuring the rounding error.

Legend: M rows of the input, K inputs, N outputs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.ops.activation import gelu_tanh

FLOAT8 = torch.float8_e4m3fn
_LARGEST = torch.finfo(FLOAT8).max
_SMALLEST_SCALE = 1e-12
_ALIGNMENT = 16  # of K and N, for the matrix units
_CAPABILITY = (8, 9)


def quantise(x_MK: Tensor) -> tuple[Tensor, Tensor]:
    """Quantises rows to float8; returns them and their scales: float8 [M, K], float32 [M, 1]."""
    scale_M1 = (x_MK.abs().amax(dim=-1, keepdim=True).float() / _LARGEST).clamp_min(_SMALLEST_SCALE)
    return (x_MK / scale_M1).clamp(-_LARGEST, _LARGEST).to(FLOAT8), scale_M1


def has_float8(device: torch.device) -> bool:
    """Whether the device supports float8 products."""
    if device.type != "cuda":
        return False
    properties = torch.cuda.get_device_properties(device)
    return (properties.major, properties.minor) >= _CAPABILITY


class Float8Linear(nn.Module):
    """A trained linear layer in float8; for inference only.

    Args:
        layer: the trained layer, K and N multiples of 16.
    """

    weight: Tensor
    scale_N1: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight_NK, scale_N1 = quantise(layer.weight.detach())
        self.register_buffer("weight", weight_NK)
        self.register_buffer("scale_N1", scale_N1)
        self.bias = layer.bias

    @staticmethod
    def takes(layer: nn.Linear) -> bool:
        """Whether a layer's sizes fit the matrix units."""
        return layer.in_features % _ALIGNMENT == 0 and layer.out_features % _ALIGNMENT == 0

    def forward(self, input: Tensor) -> Tensor:
        """[..., K] to [..., N] in the dtype of the input, half precision on a GPU."""
        x_MK = input.reshape(-1, input.shape[-1])
        rows_MK, scale_M1 = quantise(x_MK)
        if has_float8(input.device):
            out_MN: Tensor = torch._scaled_mm(
                rows_MK,
                self.weight.t(),
                scale_a=scale_M1,
                scale_b=self.scale_N1.t(),
                bias=self.bias,
                out_dtype=input.dtype,
                use_fast_accum=True,
            )
        else:
            weight_NK = (self.weight.float() * self.scale_N1).to(input.dtype)
            out_MN = F.linear((rows_MK.float() * scale_M1).to(input.dtype), weight_NK, self.bias)
        return out_MN.unflatten(0, input.shape[:-1])

    def activated(self, input: Tensor) -> Tensor:
        """Applies ``forward``, then the tanh form of GELU."""
        return gelu_tanh(self(input))
