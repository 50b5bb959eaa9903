"""Attention over some of the keys, and the sum of such parts: the arithmetic of ring attention.

``softmax`` over all keys is a weighted mean of the ``softmax`` over any parts of them; the weights
are the parts' sums of exponentials, kept as logarithms (log-sum-exp, LSE).

Legend: B batch, N query tokens, M key tokens of the part, H heads, D head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_HALF = (torch.float16, torch.bfloat16)


class Part(NamedTuple):
    """Attention over a part of the keys.

    Args:
        out_BNHD: float32 [B, N, H, D].
        lse_BNH: float32 [B, N, H], log of the sum of exponentials of the scaled scores.
    """

    out_BNHD: Tensor
    lse_BNH: Tensor


def partial_attention(q_BNHD: Tensor, k_BMHD: Tensor, v_BMHD: Tensor) -> Part:
    """``softmax(q k^T / sqrt(D)) v`` over these keys, with its log-sum-exp.

    The fused kernels of PyTorch return both; which one runs depends on device and dtype.
    """
    # The kernels below read rows of D numbers without checking that they are contiguous.
    rows = (t if t.stride(-1) == 1 else t.contiguous() for t in (q_BNHD, k_BMHD, v_BMHD))
    q, k, v = (t.transpose(1, 2) for t in rows)
    aten = torch.ops.aten
    if q.device.type == "cpu":
        out, lse = aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)[:2]
    elif q.device.type == "cuda" and q.dtype in _HALF:
        out, lse = aten._scaled_dot_product_flash_attention(q, k, v)[:2]
    else:
        scores = (q.float() @ k.float().transpose(-1, -2)) * q.shape[-1] ** -0.5
        lse = scores.logsumexp(-1)
        out = (scores - lse.unsqueeze(-1)).exp() @ v.float()
    lse_BHN = lse[..., : q.shape[2]]
    return Part(out.transpose(1, 2).float(), lse_BHN.transpose(1, 2).float())


def merge(first: Part, second: Part) -> Part:
    """Returns the attention over the keys of both parts, which are disjoint."""
    lse_BNH = torch.logaddexp(first.lse_BNH, second.lse_BNH)
    weight = (second.lse_BNH - lse_BNH).exp().unsqueeze(-1)
    return Part(torch.lerp(first.out_BNHD, second.out_BNHD, weight), lse_BNH)
