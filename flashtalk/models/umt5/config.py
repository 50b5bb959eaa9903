"""The configuration of the text encoder: a frozen dataclass, two presets, a JSON form."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from flashtalk.errors import InputError
from flashtalk.validation import JsonConfig


@dataclass(frozen=True)
class TextConfig(JsonConfig):
    """A umT5 encoder. The defaults are the published umT5-xxl.

    Args:
        vocab: tokens of the embedding table.
        dim: width of a token.
        dim_attn: width of queries, keys and values, all heads together.
        dim_ffn: hidden width of the gated feed-forward layers.
        heads, layers: attention heads per block, blocks.
        buckets: number of distance classes of the relative position bias.
        text_len: tokens of a prompt after padding.
        dropout: dropout rate in training mode.
    """

    vocab: int = 256_384
    dim: int = 4096
    dim_attn: int = 4096
    dim_ffn: int = 10_240
    heads: int = 64
    layers: int = 24
    buckets: int = 32
    text_len: int = 512
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.name != "dropout" and (value := getattr(self, field.name)) <= 0:
                raise InputError(field.name, value, "must be positive")
        if self.dim_attn % self.heads:
            raise InputError("heads", self.heads, f"must divide {self.dim_attn}")
        if not 0 <= self.dropout < 1:
            raise InputError("dropout", self.dropout, "in [0, 1)")

    @classmethod
    def flashtalk_14b(cls) -> TextConfig:
        """The published umT5-xxl encoder (5.7 billion parameters)."""
        return cls()

    @classmethod
    def tiny(cls) -> TextConfig:
        """A two-layer encoder over a vocabulary of 512 byte pairs."""
        return cls(
            vocab=512,
            dim=64,
            dim_attn=64,
            dim_ffn=128,
            heads=4,
            layers=2,
            text_len=32,
        )
