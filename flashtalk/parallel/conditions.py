"""Attention to text, image and speech on ranks with a part of the tokens.

Every token attends to all of the text and of the portrait, and to the speech of its own latent
frame; none of this needs other ranks' tokens.

Legend: B batch, n tokens of this rank, M context tokens, F latent frames, A audio tokens per latent
frame, H heads, h heads that this rank stores, K channels per head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from flashtalk.models.transformer.conditions import KeyValue
from flashtalk.ops.attention import Backend as Kernel
from flashtalk.ops.attention import attention, frame_attention
from flashtalk.ops.token_slice import TokenSlice
from flashtalk.parallel.mesh import RankGroup

CONTEXT = "context"


@dataclass(frozen=True)
class KeptHeads:
    """Keys and values of text and portrait; each rank of the group stores a part of the heads.

    In the 14B preset they are 0.6 GB per session. The heads of the other ranks are gathered when a
    layer needs them. This sends less than the queries would, as long as a rank has fewer context
    tokens than video tokens.
    """

    group: RankGroup
    kernel: Kernel | None = None

    def keep(self, kv: KeyValue) -> KeyValue:
        """[B, M, H, K] to [B, M, h, K], as copies, so that the memory of the others is freed."""
        each = kv.k.shape[2] // self.group.size
        mine = slice(self.group.index * each, (self.group.index + 1) * each)
        return KeyValue(kv.k[:, :, mine].contiguous(), kv.v[:, :, mine].contiguous())

    def core(self, q_BnHK: Tensor, k_BMhK: Tensor, v_BMhK: Tensor) -> Tensor:
        """An ``AttentionCore`` for keys and values of this rank's heads only."""
        mine = torch.stack((k_BMhK, v_BMhK))
        parts = self.group.all_gather(mine, [mine.shape] * self.group.size, CONTEXT)
        k_BMHK, v_BMHK = torch.cat(parts, dim=3)
        return attention(q_BnHK, k_BMHK, v_BMHK, backend=self.kernel)


def shared_frame_attention(
    q_BnHK: Tensor,
    k_BFAHK: Tensor,
    v_BFAHK: Tensor,
    tokens: TokenSlice,
    *,
    backend: Kernel | None = None,
) -> Tensor:
    """``frame_attention`` of tokens that may begin and end inside a latent frame.

    In partial frames the queries of other ranks' tokens are zero, and their results are discarded:
    attention to a frame's speech is small, so a separate call would cost more.
    """
    per_frame = tokens.total // k_BFAHK.shape[1]
    first, last = tokens.start // per_frame, (tokens.stop - 1) // per_frame
    lead = tokens.start - first * per_frame
    trail = (last + 1) * per_frame - tokens.stop
    padded = F.pad(q_BnHK, (0, 0, 0, 0, lead, trail))
    frames = slice(first, last + 1)
    whole = TokenSlice.whole(padded.shape[1])
    keys, values = k_BFAHK[:, frames], v_BFAHK[:, frames]
    out = frame_attention(padded, keys, values, whole, backend=backend)
    return out[:, lead : lead + tokens.count]
