"""The conditions of a chunk, as values: tokens, and their keys and values.

Legend: B batch, N tokens, D width, F latent frames, A audio tokens per latent frame, H heads,
K channels per head.

With the ``...Tokens`` forms each block projects to keys and values; training uses them, since
sharded or checkpointed blocks do not share their parameters. The ``...KV`` forms contain the
projections of every layer; inference uses them, since text and image are constant in a session, and
speech is constant in all sampler steps of a chunk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from flashtalk.errors import InputError


class KeyValue(NamedTuple):
    """Keys and values of one attention, each [B, N, H, K] (audio: [B, F, A, H, K])."""

    k: Tensor
    v: Tensor


class ContextLayer(NamedTuple):
    """The input of one block's text and image attention."""

    text: KeyValue
    image: KeyValue


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
        return ContextTokens(_expand(self.text_BND, batch), _expand(self.image_BND, batch))

    def tensors(self) -> list[Tensor]:
        """All that it holds."""
        return [self.text_BND, self.image_BND]


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
        return _map(self, lambda t: t.to(device=device, dtype=dtype))

    def rows(self, rows: Tensor) -> ContextKV:
        """Returns the samples with these indices, int64."""
        return _map(self, lambda t: t[rows])

    def expand(self, batch: int) -> ContextKV:
        """Repeats a batch of one ``batch`` times without a copy."""
        return _map(self, lambda t: _expand(t, batch))

    def tensors(self) -> list[Tensor]:
        """All that it holds."""
        return [tensor for pair in (*self.text, *self.image) for tensor in pair]

    @staticmethod
    def cat(parts: Sequence[ContextKV]) -> ContextKV:
        """Concatenates batches, for guidance in one pass."""
        return ContextKV(text=_cat([p.text for p in parts]), image=_cat([p.image for p in parts]))


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
        return _map(self, lambda t: t.to(device=device, dtype=dtype))

    def rows(self, rows: Tensor) -> AudioKV:
        """Returns the samples with these indices, int64."""
        return _map(self, lambda t: t[rows])

    def expand(self, batch: int) -> AudioKV:
        """Repeats a batch of one ``batch`` times without a copy."""
        return _map(self, lambda t: _expand(t, batch))

    @staticmethod
    def cat(parts: Sequence[AudioKV]) -> AudioKV:
        """Concatenates batches, for guidance in one pass."""
        return AudioKV(audio=_cat([p.audio for p in parts]))


Context = ContextTokens | ContextKV
Audio = AudioTokens | AudioKV
_Cache = TypeVar("_Cache", ContextKV, AudioKV)


def _map(cache: _Cache, function: Callable[[Tensor], Tensor]) -> _Cache:
    """Apply ``function`` to every key and value."""
    changed = {
        field.name: tuple(
            KeyValue(function(kv.k), function(kv.v)) for kv in getattr(cache, field.name)
        )
        for field in dataclasses.fields(cache)
    }
    return type(cache)(**changed)


def _expand(tensor: Tensor, batch: int) -> Tensor:
    if tensor.shape[0] not in (1, batch):
        raise InputError("batch", batch, f"cannot repeat a batch of {tensor.shape[0]}")
    return tensor.expand(batch, *tensor.shape[1:])


def _cat(parts: Sequence[tuple[KeyValue, ...]]) -> tuple[KeyValue, ...]:
    return tuple(
        KeyValue(torch.cat([kv.k for kv in layer]), torch.cat([kv.v for kv in layer]))
        for layer in zip(*parts, strict=True)
    )
