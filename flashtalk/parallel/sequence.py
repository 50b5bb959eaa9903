"""Self-attention of a sequence with its tokens on several ranks (report section 3.3).

Ulysses: an all-to-all gives every rank all tokens of its heads; another one after the attention
reverses this. Ring: every rank keeps its queries and receives the blocks of keys and values in
turn. Together: the ranks of a Ulysses group form a block of tokens, which the rings pass around.

Legend: B batch, n tokens of this rank, N tokens of its block, H heads, h heads of this rank in its
Ulysses group, K channels per head, U and R degrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flashtalk.ops.attention import Backend as Kernel
from flashtalk.ops.attention import attention
from flashtalk.ops.partial_attention import Part, merge, partial_attention
from flashtalk.ops.token_slice import TokenSlice
from flashtalk.parallel.layout import shard_tokens
from flashtalk.parallel.mesh import Mesh, RankGroup, finish

ULYSSES, RING = "ulysses", "ring"


@dataclass(frozen=True)
class SequenceAttention:
    """A ``SharedAttentionCore`` over the ranks of a mesh; equal to one rank's within rounding.

    Args:
        mesh: the ranks.
        kernel: attention kernel of Ulysses; ``None`` selects the fastest for each shape. Ring
            attention is computed in parts, for which there is one kernel.
    """

    mesh: Mesh
    kernel: Kernel | None = None

    def __call__(
        self, q_BnHK: Tensor, k_BnHK: Tensor, v_BnHK: Tensor, tokens: TokenSlice
    ) -> Tensor:
        """[B, n, H, K] of this rank's tokens to [B, n, H, K]."""
        ulysses, ring = self.mesh.ulysses, self.mesh.ring
        counts = [shard.count for shard in shard_tokens(tokens.total, self.mesh.layout.ranks)]
        of_block = counts[ring.index * ulysses.size :][: ulysses.size]
        blocks = [sum(counts[i * ulysses.size :][: ulysses.size]) for i in range(ring.size)]
        q, k, v = trade_tokens(torch.stack((q_BnHK, k_BnHK, v_BnHK)), of_block, ulysses)
        if ring.size > 1:
            out = ring_attention(q, k, v, blocks, ring)
        else:
            out = attention(q, k, v, backend=self.kernel)
        return trade_heads(out, of_block, ulysses)


def trade_tokens(x_3BnHK: Tensor, counts: Sequence[int], group: RankGroup) -> Tensor:
    """[3, B, n, H, K] to [3, B, N, h, K]: all tokens of the group for this rank's heads.

    Args:
        x_3BnHK: queries, keys and values of this rank's tokens.
        counts: tokens of every rank of the group.
        group: the Ulysses group.
    """
    if group.size == 1:
        return x_3BnHK
    shape = x_3BnHK.shape
    heads = shape[3] // group.size
    parts = x_3BnHK.split(heads, dim=3)
    each = shape[0] * shape[1] * heads * shape[4]
    received = group.all_to_all(parts, [count * each for count in counts], ULYSSES)
    rows = [part.view(*shape[:2], -1, heads, shape[4]) for part in received]
    return torch.cat(rows, dim=2)


def trade_heads(x_BNhK: Tensor, counts: Sequence[int], group: RankGroup) -> Tensor:
    """[B, N, h, K] to [B, n, H, K]: the inverse of ``trade_tokens``."""
    if group.size == 1:
        return x_BNhK
    batch, _, heads, width = x_BNhK.shape
    parts = x_BNhK.split(list(counts), dim=1)
    mine = batch * counts[group.index] * heads * width
    received = group.all_to_all(parts, [mine] * group.size, ULYSSES)
    return torch.cat([part.view(batch, -1, heads, width) for part in received], dim=2)


def ring_attention(
    q_BNhK: Tensor, k_BNhK: Tensor, v_BNhK: Tensor, blocks: Sequence[int], ring: RankGroup
) -> Tensor:
    """[B, N, h, K] queries of this block against the keys and values of every block.

    The next block is received while the current one is computed.

    Args:
        blocks: tokens of every rank's block.
    """
    batch, _, heads, width = k_BNhK.shape
    held, total = torch.stack((k_BNhK, v_BNhK)), None
    for step in range(1, ring.size):
        coming = blocks[(ring.index - step) % ring.size]
        incoming = held.new_empty(2, batch, coming, heads, width)
        works = ring.pass_on(held, incoming, RING)
        total = _with(total, q_BNhK, held)
        finish(works)
        held = incoming
    return _with(total, q_BNhK, held).out_BNHD.to(q_BNhK.dtype)


def _with(total: Part | None, q_BNhK: Tensor, kv_2BNhK: Tensor) -> Part:
    part = partial_attention(q_BNhK, kv_2BNhK[0], kv_2BNhK[1])
    return part if total is None else merge(total, part)
