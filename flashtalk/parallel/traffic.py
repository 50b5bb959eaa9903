"""Communication volume of one evaluation of the transformer, in closed form (docs/parallelism.md).

With even shards, per layer and rank, in elements, for N tokens of width D, M context tokens, U and
R degrees and P = U R ranks:

- Ulysses: ``4 N D / P * (U - 1) / U``: queries, keys and values, then results;
- ring: ``2 N D / P * (R - 1)``: keys and values of a block, R - 1 times;
- context: ``2 M D * (U - 1) / U``, keys and values of the other ranks' heads.

Only sent elements are counted; a rank receives the same number.
"""

from __future__ import annotations

from dataclasses import dataclass

from flashtalk.parallel.layout import Layout, shard_tokens


@dataclass(frozen=True)
class Evaluation:
    """Sizes of one evaluation.

    Args:
        tokens: N, tokens of the chunk.
        heads, head_dim: attention heads and their width, D = heads * head_dim.
        layers: number of blocks.
        context_tokens: M, text and portrait together.
        patch_values: outputs per token, always float32.
        batch: 1, or 2 with guidance.
        element_bytes: bytes per element of the weights.
    """

    tokens: int
    heads: int
    head_dim: int
    layers: int
    context_tokens: int
    patch_values: int = 64
    batch: int = 1
    element_bytes: int = 2


def sent_bytes(layout: Layout, rank: int, sizes: Evaluation) -> dict[str, int]:
    """Returns the bytes that a rank sends in one evaluation, by kind; exact for uneven shards."""
    counts = [shard.count for shard in shard_tokens(sizes.tokens, layout.ranks)]
    ring_index = rank // layout.ulysses
    blocks = [sum(counts[i * layout.ulysses :][: layout.ulysses]) for i in range(layout.ring)]
    heads = sizes.heads // layout.ulysses
    mine, block = counts[rank], blocks[ring_index]
    passed = sum(blocks[(ring_index - step) % layout.ring] for step in range(layout.ring - 1))
    per_layer = {
        "ulysses": 3 * mine * (sizes.heads - heads) + (block - mine) * heads,
        "ring": 2 * passed * heads,
        "context": 2 * sizes.context_tokens * heads * (layout.ulysses - 1),
    }
    scale = sizes.batch * sizes.layers * sizes.head_dim * sizes.element_bytes
    sent = {kind: count * scale for kind, count in per_layer.items()}
    # Rows are padded to the longest.
    sent["join"] = (layout.ranks - 1) * max(counts) * sizes.patch_values * sizes.batch * 4
    return {kind: count for kind, count in sent.items() if count}
