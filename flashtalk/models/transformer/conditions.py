"""Speech and noise level as a network receives them, and keys and values as values.

Legend: B batch, N tokens, D width, F latent frames, A audio tokens per latent frame, H heads,
K channels per head.

With tokens each block projects to keys and values; training uses them, since sharded or
checkpointed blocks do not share their parameters. ``AudioKV`` contains the projections of every
layer; inference uses it, since speech is constant in all sampler steps of a chunk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from flashtalk.errors import InputError


class KeyValue(NamedTuple):
    """Keys and values of one attention, each [B, N, H, K] (audio: [B, F, A, H, K])."""

    k: Tensor
    v: Tensor


class TimeEmbedding(NamedTuple):
    """The embedded noise level for the blocks and the head, float32 in every precision.

    Args:
        time_BD: [B, D] the embedding.
        six_B6D: [B, 6, D] its projection: shift, scale, gate of attention, then of feed-forward.
    """

    time_BD: Tensor
    six_B6D: Tensor

    def row(self, index: int, batch: int) -> TimeEmbedding:
        """Returns one noise level, for a batch of samples that share it."""
        return TimeEmbedding(
            self.time_BD[index].expand(batch, -1), self.six_B6D[index].expand(batch, -1, -1)
        )


@dataclass(frozen=True)
class AudioTokens:
    """Embedded speech [B, F, A, output_dim], shared by all layers."""

    tokens_BFAD: Tensor

    def layer(self, _index: int) -> AudioTokens:
        """Returns the input of block ``_index``: the same tokens for every block."""
        return self

    def rows(self, rows: Tensor) -> AudioTokens:
        """Returns the samples with these indices, int64."""
        return AudioTokens(self.tokens_BFAD[rows])

    @property
    def latent_frames(self) -> int:
        """Number of latent frames, F."""
        return self.tokens_BFAD.shape[1]


@dataclass(frozen=True)
class AudioKV:
    """Keys and values of one chunk's speech for every layer, computed once per chunk.

    Args:
        audio: per layer, [B, F, A, H, K] keys and values.
    """

    audio: tuple[KeyValue, ...]

    def layer(self, index: int) -> KeyValue:
        """Returns the input of block ``index``."""
        return self.audio[index]

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> AudioKV:
        """Returns the values on another device or in another dtype."""
        return map_pairs(self, lambda t: t.to(device=device, dtype=dtype))

    def rows(self, rows: Tensor) -> AudioKV:
        """Returns the samples with these indices, int64."""
        return map_pairs(self, lambda t: t[rows])

    def expand(self, batch: int) -> AudioKV:
        """Repeats a batch of one ``batch`` times without a copy."""
        return map_pairs(self, lambda t: expand_batch(t, batch))

    @property
    def latent_frames(self) -> int:
        """Number of latent frames, F."""
        return self.audio[0].k.shape[1]

    @staticmethod
    def cat(parts: Sequence[AudioKV]) -> AudioKV:
        """Concatenates batches, for guidance in one pass."""
        return AudioKV(audio=cat_layers([p.audio for p in parts]))


Audio = AudioTokens | AudioKV
CacheT = TypeVar("CacheT", bound=Any)


def map_pairs(cache: CacheT, function: Callable[[Tensor], Tensor]) -> CacheT:
    """Returns a dataclass of layers with ``function`` applied to every key and value."""
    changed = {
        field.name: tuple(
            KeyValue(function(kv.k), function(kv.v)) for kv in getattr(cache, field.name)
        )
        for field in dataclasses.fields(cache)
    }
    return type(cache)(**changed)


def expand_batch(tensor: Tensor, batch: int) -> Tensor:
    """Returns a batch of one repeated ``batch`` times; raises InputError for another batch."""
    if tensor.shape[0] not in (1, batch):
        raise InputError("batch", batch, f"cannot repeat a batch of {tensor.shape[0]}")
    return tensor.expand(batch, *tensor.shape[1:])


def cat_layers(parts: Sequence[tuple[KeyValue, ...]]) -> tuple[KeyValue, ...]:
    """Returns the batches of several caches as one, layer by layer."""
    return tuple(
        KeyValue(torch.cat([kv.k for kv in layer]), torch.cat([kv.v for kv in layer]))
        for layer in zip(*parts, strict=True)
    )
