"""The configuration of the speech encoder: a frozen dataclass, two presets, a JSON form."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import prod
from typing import Any, Self

from flashtalk.errors import InputError
from flashtalk.validation import JsonConfig, require

# Fields of a published config.json for which only one value is implemented.
_FIXED: dict[str, object] = {
    "model_type": "wav2vec2",
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "add_adapter": False,
}


@dataclass(frozen=True)
class AudioConfig(JsonConfig):
    """A Wav2Vec2 encoder; the field names are those of its published config.json.

    The defaults are the published base model (report section 3.1: Wav2Vec2 speech features).

    Args:
        conv_dim, conv_kernel, conv_stride: channels, taps and strides of the waveform layers.
        conv_bias: whether those layers have a bias.
        feat_extract_norm: ``group`` normalises the first waveform layer over time, ``layer``
            every one over channels.
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size: the transformer.
        num_conv_pos_embeddings, num_conv_pos_embedding_groups: taps and groups of the
            convolution that encodes positions.
        do_stable_layer_norm: norms before the layers instead of after them.
        layer_norm_eps: epsilon of every LayerNorm.
        dropout: dropout rate in training mode, of hidden states, attention and activations.
    """

    conv_dim: tuple[int, ...] = (512,) * 7
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    feat_extract_norm: str = "group"
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    do_stable_layer_norm: bool = False
    layer_norm_eps: float = 1e-5
    dropout: float = 0.0

    def __post_init__(self) -> None:
        layers = len(self.conv_dim)
        for field in ("conv_dim", "conv_kernel", "conv_stride"):
            values = getattr(self, field)
            if not layers or len(values) != layers or min(values) <= 0:
                raise InputError(field, values, f"{layers or 'some'} positive numbers")
        for field in (
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "num_conv_pos_embeddings",
            "num_conv_pos_embedding_groups",
        ):
            if getattr(self, field) <= 0:
                raise InputError(field, getattr(self, field), "must be positive")
        for field in ("num_attention_heads", "num_conv_pos_embedding_groups"):
            if self.hidden_size % getattr(self, field):
                raise InputError(field, getattr(self, field), f"must divide {self.hidden_size}")
        if self.feat_extract_norm not in ("group", "layer"):
            raise InputError("feat_extract_norm", self.feat_extract_norm, "group or layer")
        if not 0 <= self.dropout < 1:
            raise InputError("dropout", self.dropout, "in [0, 1)")

    @classmethod
    def flashtalk_14b(cls) -> AudioConfig:
        """The published chinese-wav2vec2-base (95 M parameters)."""
        return cls()

    @classmethod
    def tiny(cls) -> AudioConfig:
        """An encoder of half a million parameters that two CPU cores train and run."""
        return cls(
            conv_dim=(64,) * 7,
            hidden_size=96,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=256,
            num_conv_pos_embeddings=32,
            num_conv_pos_embedding_groups=8,
            dropout=0.05,
        )

    @property
    def hop_samples(self) -> int:
        """Samples between two convolutional features (320: 20 ms at 16 kHz)."""
        return prod(self.conv_stride)

    @property
    def min_samples(self) -> int:
        """The shortest waveform with one convolutional feature (400: 25 ms)."""
        samples = 1
        for kernel, stride in zip(
            reversed(self.conv_kernel), reversed(self.conv_stride), strict=True
        ):
            samples = (samples - 1) * stride + kernel
        return samples

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Reads the fields of a config.json, published (it has ``model_type``) or ours.

        From a published file only the fields of the architecture are used, not those of training.

        Raises:
            InputError: an unknown field in our file, a value of the wrong type, or values of an
                unsupported or impossible encoder.
        """
        if "model_type" in values:
            require(_FIXED, values)
            known = {field.name for field in dataclasses.fields(cls)} - {"dropout"}
            values = {name: value for name, value in values.items() if name in known}
        return super().from_dict(values)
