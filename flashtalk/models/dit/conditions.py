"""The conditions of a chunk, as values: tokens, and their keys and values.

Legend: B batch, N tokens, D width, H heads, K channels per head.

With the ``...Tokens`` forms each block projects to keys and values; training uses them, since
sharded or checkpointed blocks do not share their parameters. The ``...KV`` forms contain the
projections of every layer; inference uses them, since text and image are constant in a session, and
speech is constant in all sampler steps of a chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from flashtalk.models.transformer.conditions import (
    Audio,
    AudioKV,
    AudioTokens,
    KeyValue,
    TimeEmbedding,
    cat_layers,
    expand_batch,
    map_pairs,
)

# With those that other transformers share: all conditions of this one.
__all__ = [
    "Audio",
    "AudioKV",
    "AudioTokens",
    "Context",
    "ContextKV",
    "ContextLayer",
    "ContextTokens",
    "KeyValue",
    "TimeEmbedding",
]


class ContextLayer(NamedTuple):
    """The input of one block's text and image attention."""

    text: KeyValue
    image: KeyValue


@dataclass(frozen=True)
class ContextTokens:
    """Embedded text [B, N_text, D] and image [B, N_image, D] tokens, shared by all layers."""

    text_BND: Tensor
    image_BND: Tensor

    def layer(self, _index: int) -> ContextTokens:
        """Returns the input of block ``_index``: the same tokens for every block."""
        return self

    def rows(self, rows: Tensor) -> ContextTokens:
        """Returns the samples with these indices, int64."""
        return ContextTokens(self.text_BND[rows], self.image_BND[rows])

    def expand(self, batch: int) -> ContextTokens:
        """A batch of one repeated ``batch`` times without a copy."""
        return ContextTokens(
            expand_batch(self.text_BND, batch), expand_batch(self.image_BND, batch)
        )

    def tensors(self) -> list[Tensor]:
        """All that it holds."""
        return [self.text_BND, self.image_BND]


@dataclass(frozen=True)
class ContextKV:
    """Keys and values of text and image for every layer, computed once per session.

    Args:
        text: per layer, [B, text_len, H, K] keys and values.
        image: per layer, [B, clip_tokens, H, K] keys and values.
    """

    text: tuple[KeyValue, ...]
    image: tuple[KeyValue, ...]

    def layer(self, index: int) -> ContextLayer:
        """Returns the input of block ``index``."""
        return ContextLayer(self.text[index], self.image[index])

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> ContextKV:
        """Returns the values on another device or in another dtype."""
        return map_pairs(self, lambda t: t.to(device=device, dtype=dtype))

    def rows(self, rows: Tensor) -> ContextKV:
        """Returns the samples with these indices, int64."""
        return map_pairs(self, lambda t: t[rows])

    def expand(self, batch: int) -> ContextKV:
        """Repeats a batch of one ``batch`` times without a copy."""
        return map_pairs(self, lambda t: expand_batch(t, batch))

    def tensors(self) -> list[Tensor]:
        """All that it holds."""
        return [tensor for pair in (*self.text, *self.image) for tensor in pair]

    @staticmethod
    def cat(parts: Sequence[ContextKV]) -> ContextKV:
        """Concatenates batches, for guidance in one pass."""
        return ContextKV(
            text=cat_layers([p.text for p in parts]), image=cat_layers([p.image for p in parts])
        )


Context = ContextTokens | ContextKV
