"""RMS norm over the channels followed by SiLU, as before every convolution of the video VAEs.

Legend: M positions (batch, frames, rows, columns), C channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from flashtalk.ops.eager import works_in_blocks

# Elements per block on a CPU: in float32 they and the intermediate values fit in a core's cache.
# Half and twice this size were slower or as fast (docs/performance.md).
_BLOCK_ELEMENTS = 1 << 18


def channel_norm(x: Tensor, gain_C: Tensor | None, eps: float, *, activate: bool) -> Tensor:
    """``x / rms(x) * gain``, and ``silu`` of it where ``activate``.

    Args:
        x: [..., C], any floating dtype.
        gain_C: [C]; ``None`` for a norm without one.
        eps: added to the mean square.
        activate: whether SiLU follows.

    Returns:
        [..., C] in the dtype of ``x``, contiguous.
    """
    x = x.contiguous()
    if works_in_blocks(x):
        out = torch.empty_like(x)
        channel_norm_into(out, x, gain_C, eps, activate=activate)
        return out
    # One dtype for both, also under autocast: only then does the fused kernel run.
    gain = None if gain_C is None else gain_C.to(x.dtype)
    normed = F.rms_norm(x, x.shape[-1:], gain, eps)
    return F.silu(normed) if activate else normed


def channel_norm_into(
    out: Tensor, x: Tensor, gain_C: Tensor | None, eps: float, *, activate: bool
) -> None:
    """``channel_norm`` on a CPU without gradients: all operations on one block at a time.

    torch's CPU norm makes one pass over memory per operation, and first converts a whole bfloat16
    tensor to float32. Here a block stays in the cache, and is rounded once.

    Args:
        out: contiguous [..., C], receives the result.
        x: contiguous, of the same shape and dtype.
        gain_C, eps, activate: as in ``channel_norm``.
    """
    channels, gain = x.shape[-1], None if gain_C is None else gain_C.float()
    rows = max(1, _BLOCK_ELEMENTS // channels)
    pairs = zip(x.view(-1, channels).split(rows), out.view(-1, channels).split(rows), strict=True)
    for x_MC, out_MC in pairs:
        half = x_MC.dtype != torch.float32
        wide_MC = x_MC.float()
        norm_M1 = torch.linalg.vector_norm(wide_MC, dim=-1, keepdim=True)
        scale_M1 = norm_M1.square_().mul_(1 / channels).add_(eps).rsqrt_()
        y_MC = wide_MC if half else out_MC
        torch.mul(wide_MC, scale_M1, out=y_MC)
        if gain is not None:
            y_MC.mul_(gain)
        if activate:
            F.silu(y_MC, inplace=True)
        if half:
            out_MC.copy_(y_MC)
