"""The parts of a Wav2Vec2 encoder: waveform layers, projection, transformer.

Implemented here although transformers has them, because importing transformers' version takes a
process three seconds and 200 MB, most of it unrelated to this encoder; the speech worker starts in
less time than that. The tests compare each part with transformers' classes, whose parameter names
are used here.

Legend: B batch, S steps of the waveform layers, C their channels, T tokens, D width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.models.wav2vec2.config import AudioConfig
from flashtalk.ops.linear import Linear
from flashtalk.ops.self_attention import SelfAttention

_LINEAR_STD = 0.02


class ConvLayer(nn.Module):
    """A strided convolution over time, an optional norm, GELU: [B, C, S] to [B, C', S'].

    Args:
        config: the architecture.
        index: number of the waveform layer.
    """

    def __init__(self, config: AudioConfig, index: int) -> None:
        super().__init__()
        channels = config.conv_dim[index]
        self.conv = nn.Conv1d(
            config.conv_dim[index - 1] if index else 1,
            channels,
            config.conv_kernel[index],
            config.conv_stride[index],
            bias=config.conv_bias,
        )
        self.layer_norm: nn.GroupNorm | nn.LayerNorm | None = None
        if config.feat_extract_norm == "layer":
            self.layer_norm = nn.LayerNorm(channels)
        elif index == 0:
            self.layer_norm = nn.GroupNorm(channels, channels)
        nn.init.kaiming_normal_(self.conv.weight)

    def forward(self, x_BCS: Tensor) -> Tensor:
        """Returns [B, C', S'], in the dtype of the weights."""
        x_BCS = self.conv(x_BCS)
        if isinstance(self.layer_norm, nn.LayerNorm):
            x_BCS = self.layer_norm(x_BCS.transpose(1, 2)).transpose(1, 2)
        elif self.layer_norm is not None:
            x_BCS = self.layer_norm(x_BCS)
        return F.gelu(x_BCS)


class FeatureExtractor(nn.Module):
    """The waveform layers; the caller runs them one by one (``in_float32``)."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList(
            ConvLayer(config, index) for index in range(len(config.conv_dim))
        )


class FeatureProjection(nn.Module):
    """Channels of the last waveform layer to the transformer's width: [B, T, C] to [B, T, D]."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        channels = config.conv_dim[-1]
        self.layer_norm = nn.LayerNorm(channels, eps=config.layer_norm_eps)
        self.projection = Linear(channels, config.hidden_size)
        bound = channels**-0.5
        nn.init.uniform_(self.projection.weight, -bound, bound)
        nn.init.uniform_(self.projection.bias, -bound, bound)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Returns [B, T, D]."""
        projected: Tensor = self.projection(self.layer_norm(x_BTC))
        return projected


class PositionalConv(nn.Module):
    """The positional encoding, a long grouped convolution and GELU: [B, T, D] to the same."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.conv = WeightNormedConv(
            config.hidden_size, config.num_conv_pos_embeddings, config.num_conv_pos_embedding_groups
        )

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Returns [B, T, D], to be added to the tokens."""
        tokens = x_BTD.shape[1]
        # An even kernel with half of it as padding gives one extra token at the end.
        out_BDT = self.conv(x_BTD.transpose(1, 2))[..., :tokens]
        return F.gelu(out_BDT).transpose(1, 2)


class WeightNormedConv(nn.Module):
    """A grouped convolution over time with one learned norm per tap: [B, D, T] to the same.

    It does not use torch's parametrization, which computes norms when a model is built, even on the
    meta device, and imports torch's compiler for this. The names are the same.

    Args:
        width: D.
        taps: size of the kernel; the padding is half of it.
        groups: groups of channels.
    """

    def __init__(self, width: int, taps: int, groups: int) -> None:
        super().__init__()
        self.taps, self.groups = taps, groups
        self.bias = nn.Parameter(torch.zeros(width))
        self.parametrizations = nn.ModuleDict(
            {"weight": NormedWeight(width, width // groups, taps)}
        )

    def forward(self, x_BDT: Tensor) -> Tensor:
        """Returns [B, D, T]."""
        weight = self.parametrizations["weight"]()
        return F.conv1d(x_BDT, weight, self.bias, padding=self.taps // 2, groups=self.groups)


class NormedWeight(nn.Module):
    """A kernel [out, in, taps] as one norm per tap and a direction of any length."""

    def __init__(self, out_channels: int, in_channels: int, taps: int) -> None:
        super().__init__()
        direction = torch.empty(out_channels, in_channels, taps)
        nn.init.kaiming_uniform_(direction, a=math.sqrt(5))  # like torch's convolutions
        # On the meta device the norm cannot be computed.
        norm = torch.empty(1, 1, taps)
        if not direction.is_meta:
            norm = torch.norm_except_dim(direction, 2, 2)
        self.original0, self.original1 = nn.Parameter(norm), nn.Parameter(direction)

    def forward(self) -> Tensor:
        """Returns the kernel."""
        return torch._weight_norm(self.original1, self.original0, 2)


class FeedForward(nn.Module):
    """Two linear layers around GELU: [B, T, D] to the same."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.intermediate_dense = Linear(config.hidden_size, config.intermediate_size)
        self.output_dense = Linear(config.intermediate_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Returns [B, T, D]."""
        hidden = self.dropout(F.gelu(self.intermediate_dense(x_BTD)))
        out_BTD: Tensor = self.dropout(self.output_dense(hidden))
        return out_BTD


class EncoderLayer(nn.Module):
    """Attention and feed-forward with residuals, norms before or after them: [B, T, D]."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.norm_first = config.do_stable_layer_norm
        self.attention = SelfAttention(width, config.num_attention_heads, config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.layer_norm = nn.LayerNorm(width, eps=eps)
        self.feed_forward = FeedForward(config)
        self.final_layer_norm = nn.LayerNorm(width, eps=eps)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Returns [B, T, D], residuals included."""
        if self.norm_first:
            x_BTD = x_BTD + self.dropout(self.attention(self.layer_norm(x_BTD)))
            return x_BTD + self.feed_forward(self.final_layer_norm(x_BTD))
        x_BTD = self.layer_norm(x_BTD + self.dropout(self.attention(x_BTD)))
        out_BTD: Tensor = self.final_layer_norm(x_BTD + self.feed_forward(x_BTD))
        return out_BTD


class Encoder(nn.Module):
    """The transformer; the caller runs it layer by layer and keeps every output."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.pos_conv_embed = PositionalConv(config)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_hidden_layers))
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=_LINEAR_STD)
                nn.init.zeros_(module.bias)
