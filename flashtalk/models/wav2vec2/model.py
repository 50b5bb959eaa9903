"""Speech features at the video's frame rate: a Wav2Vec2 encoder with one token per frame.

Legend: B batch, N samples (16 kHz), S convolutional steps (50 Hz), T video frames (25 Hz),
C convolutional channels, L transformer layers, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.errors import InputError
from flashtalk.models.wav2vec2.config import AudioConfig
from flashtalk.models.wav2vec2.encoder import Encoder, FeatureExtractor, FeatureProjection
from flashtalk.ops.convolution import in_float32


class Wav2Vec2Features(nn.Module):
    """All hidden states of a Wav2Vec2 encoder whose transformer runs at the video's frame rate.

    The waveform layers run at 50 Hz; their output is interpolated to the frame rate *before* the
    transformer, as in the training of the report's DiT (section 3.1). Parameter names are those of
    transformers' ``Wav2Vec2Model``. On a CPU all convolutions run in float32, whatever the dtype of
    the weights (``ops.convolution``).

    Args:
        config: the architecture.
    """

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.feature_extractor = FeatureExtractor(config)
        self.feature_projection = FeatureProjection(config)
        self.encoder = Encoder(config)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights, in which the features are computed."""
        return self.feature_projection.projection.weight.dtype

    def forward(self, pcm_BN: Tensor, frames: int) -> Tensor:
        """Returns features of ``frames`` video frames, which cover the whole waveform.

        Args:
            pcm_BN: [B, N] float waveforms, loudness-normalised and of unit variance
                (``loudness.py``), all of one length.
            frames: T, for a window of whole frames ``feature_frames(N)``.

        Returns:
            [B, T, L, D] float32: the outputs of layers 1..L, without the embedding below them.

        Raises:
            InputError: the waveform is too short for one feature, or ``frames`` is not positive.
        """
        if pcm_BN.ndim != 2 or pcm_BN.shape[1] < self.config.min_samples:
            limit = f"[batch, at least {self.config.min_samples} samples]"
            raise InputError("pcm", list(pcm_BN.shape), limit)
        if frames < 1:
            raise InputError("frames", frames, "at least 1")
        conv_BCS = self.convolve(pcm_BN.to(self.dtype))
        conv_BCT = F.interpolate(conv_BCS, size=frames, mode="linear", align_corners=True)
        return self.transform(conv_BCT.transpose(1, 2)).float()

    def convolve(self, pcm_BN: Tensor) -> Tensor:
        """Returns convolutional features [B, C, S] of waveforms [B, N], one per 20 ms."""
        hidden = pcm_BN[:, None]
        for layer in self.feature_extractor.conv_layers:
            hidden = in_float32(layer, hidden)
        return hidden

    def transform(self, conv_BTC: Tensor) -> Tensor:
        """Returns hidden states [B, T, L, D] of features [B, T, C] at the frame rate."""
        hidden_BTD = self.feature_projection(conv_BTC)
        hidden_BTD = hidden_BTD + in_float32(self.encoder.pos_conv_embed, hidden_BTD)
        pre_norm = self.config.do_stable_layer_norm
        if not pre_norm:
            hidden_BTD = self.encoder.layer_norm(hidden_BTD)
        hidden_BTD = self.encoder.dropout(hidden_BTD)
        states = []
        for layer in self.encoder.layers:
            hidden_BTD = layer(hidden_BTD)
            states.append(hidden_BTD)
        if pre_norm:
            states[-1] = self.encoder.layer_norm(hidden_BTD)
        return torch.stack(states, dim=2)
