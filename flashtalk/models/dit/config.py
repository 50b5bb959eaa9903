"""The configuration of the audio-driven video transformer: a frozen dataclass, presets, JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from flashtalk.errors import InputError
from flashtalk.models.transformer.speech_sizes import group_window, latent_frames
from flashtalk.validation import JsonConfig, require

PATCH_HW = 2
MASK_CHANNELS = 4

# Fields of a published config.json about the origin of the file, not about the network.
_PROVENANCE = frozenset({"_class_name", "_diffusers_version", "_name_or_path", "weight_init"})

# Options of the published constructor for which this class implements one value only.
_FIXED: dict[str, object] = {
    "model_type": "i2v",
    "patch_size": [1, PATCH_HW, PATCH_HW],
    "window_size": [-1, -1],
    "qk_norm": True,
    "cross_attn_norm": True,
    "norm_input_visual": True,
    "norm_output_audio": True,
}


@dataclass(frozen=True)
class DiTConfig(JsonConfig):
    """Sizes of the transformer (report section 3.1: Wan2.1-I2V blocks with audio layers).

    Field names are those of a published config.json; the last four are fixed numbers there.

    Args:
        dim: width of the residual stream.
        ffn_dim: hidden width of the feed-forward layers.
        num_heads, num_layers: attention heads per block, blocks.
        in_dim: input channels: ``out_dim`` noise, 4 mask, ``out_dim`` conditioning latents.
        out_dim: latent channels.
        freq_dim: channels of the sinusoidal time code.
        text_len, text_dim: text tokens (zero-padded) and their width.
        eps: of the norms inside the blocks and the head.
        audio_window: frames of speech features around a video frame, odd.
        vae_scale: video frames per latent frame.
        intermediate_dim: hidden width of the audio projection.
        output_dim: width of an audio token.
        context_tokens: audio tokens per latent frame.
        audio_blocks, audio_channels: layers and width of the speech features.
        clip_dim, clip_tokens: width and number of the image tokens.
    """

    dim: int
    ffn_dim: int
    num_heads: int
    num_layers: int
    in_dim: int = 36
    out_dim: int = 16
    freq_dim: int = 256
    text_len: int = 512
    text_dim: int = 4096
    eps: float = 1e-6
    audio_window: int = 5
    vae_scale: int = 4
    intermediate_dim: int = 512
    output_dim: int = 768
    context_tokens: int = 32
    audio_blocks: int = 12
    audio_channels: int = 768
    clip_dim: int = 1280
    clip_tokens: int = 257

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if (value := getattr(self, field.name)) <= 0:
                raise InputError(field.name, value, "must be positive")
        if self.dim % self.num_heads or self.head_dim % 2:
            raise InputError("dim", self.dim, f"{self.num_heads} heads of an even width")
        if self.in_dim != 2 * self.out_dim + MASK_CHANNELS:
            limit = f"noise, mask and condition: {2 * self.out_dim + MASK_CHANNELS}"
            raise InputError("in_dim", self.in_dim, limit)
        if self.freq_dim % 2:
            raise InputError("freq_dim", self.freq_dim, "must be even")
        if self.audio_window % 2 == 0:
            raise InputError("audio_window", self.audio_window, "must be odd")
        if self.vae_scale < 2:
            raise InputError("vae_scale", self.vae_scale, "at least 2 frames per latent")

    @classmethod
    def flashtalk_14b(cls) -> DiTConfig:
        """The published model: 18.88 billion parameters, audio layers included."""
        return cls(dim=5120, ffn_dim=13824, num_heads=40, num_layers=40)

    @classmethod
    def tiny(cls) -> DiTConfig:
        """A transformer that two CPU cores train and run."""
        return cls(
            dim=192,
            ffn_dim=512,
            num_heads=6,
            num_layers=8,
            text_len=32,
            text_dim=64,
            intermediate_dim=96,
            output_dim=96,
            context_tokens=8,
            audio_blocks=4,
            audio_channels=96,
            clip_dim=128,
            clip_tokens=17,
        )

    @property
    def head_dim(self) -> int:
        """Channels per attention head."""
        return self.dim // self.num_heads

    @property
    def patch_hw(self) -> int:
        """Latent rows and columns per token."""
        return PATCH_HW

    @property
    def group_window(self) -> int:
        """Speech-feature entries per later latent frame (8; the first has ``audio_window``)."""
        return group_window(self)

    @property
    def cond_dim(self) -> int:
        """Channels of the conditioning input y: mask and condition latents (20)."""
        return self.in_dim - self.out_dim

    def latent_frames(self, frames: int) -> int:
        """Latent frames of ``frames`` video frames. Raises InputError unless 1 + n * scale."""
        return latent_frames(frames, self.vae_scale)

    def to_dict(self) -> dict[str, Any]:
        """Returns the contents of a config.json as published, for ``from_dict``."""
        return {**_FIXED, **super().to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Reads the fields of a config.json, published or ours.

        Raises:
            InputError: a field is unknown, missing or of the wrong type, contradicts what this
                class implements, or describes an impossible network.
        """
        require(_FIXED, values)
        dropped = _FIXED.keys() | _PROVENANCE
        return super().from_dict({n: v for n, v in values.items() if n not in dropped})
