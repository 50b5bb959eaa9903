"""The configuration of FlashHead: a frozen dataclass, presets, JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from flashtalk.errors import InputError
from flashtalk.models.transformer.speech_sizes import group_window, latent_frames
from flashtalk.validation import JsonConfig, require

Triple = tuple[int, int, int]
"""Along time, rows and columns."""

# Fields of a published config.json about the origin of the file, not about the network.
_PROVENANCE = frozenset({"_diffusers_version", "_name_or_path"})

# Fields for which this class implements one value only.
_FIXED: dict[str, object] = {"_class_name": "WanModelAudioProject", "has_image_input": False}

# Constants of the published code: a config.json names them only where they differ.
_UNWRITTEN = (
    "audio_window",
    "audio_blocks",
    "audio_channels",
    "intermediate_dim",
    "context_tokens",
    "bfloat16_timestep",
)


@dataclass(frozen=True)
class FlashHeadConfig(JsonConfig):
    """Sizes of the transformer (published code of SoulX-FlashHead: Wan2.1-1.3B width).

    Field names are those of a published config.json. The last six are constants of the published
    code; a config.json may contain them, with the names that ``DiTConfig`` has for them.

    Args:
        dim: width of the residual stream and of an audio token.
        ffn_dim: hidden width of the feed-forward layers.
        num_heads, num_layers: attention heads per block, blocks.
        in_dim: input channels: ``out_dim`` noise, ``out_dim`` conditioning latents.
        out_dim: latent channels.
        patch_size: latent frames, rows and columns per token.
        vae_stride: video frames, pixel rows and columns per latent.
        text_dim: width of a text embedding that is in the published files and is not used.
        freq_dim: channels of the sinusoidal time code.
        eps: of the norms inside the blocks and the head.
        audio_window: frames of speech features around a video frame, odd.
        audio_blocks, audio_channels: layers and width of the speech features.
        intermediate_dim: hidden width of the audio projection.
        context_tokens: audio tokens per latent frame.
        bfloat16_timestep: whether a network with bfloat16 weights rounds the noise level to
            bfloat16 before its sinusoid, as the published code does (833.33 becomes 832). It
            changes nothing in other dtypes.
    """

    dim: int
    ffn_dim: int
    num_heads: int
    num_layers: int
    in_dim: int
    out_dim: int
    patch_size: Triple
    vae_stride: Triple
    text_dim: int = 4096
    freq_dim: int = 256
    eps: float = 1e-6
    audio_window: int = 5
    audio_blocks: int = 12
    audio_channels: int = 768
    intermediate_dim: int = 512
    context_tokens: int = 32
    bfloat16_timestep: bool = True

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            sizes = value if isinstance(value, tuple) else (value,)
            if field.name != "bfloat16_timestep" and not min(sizes) > 0:  # NaN is not positive
                raise InputError(field.name, value, "must be positive")
        if self.dim % self.num_heads or self.head_dim % 2:
            raise InputError("dim", self.dim, f"{self.num_heads} heads of an even width")
        if self.in_dim != 2 * self.out_dim:
            raise InputError("in_dim", self.in_dim, f"noise and condition: {2 * self.out_dim}")
        if self.freq_dim % 2:
            raise InputError("freq_dim", self.freq_dim, "must be even")
        if self.audio_window % 2 == 0:
            raise InputError("audio_window", self.audio_window, "must be odd")
        if self.patch_size != (1, self.patch_hw, self.patch_hw):
            raise InputError("patch_size", self.patch_size, "one latent frame, a square of latents")
        if self.vae_stride[1] != self.vae_stride[2] or self.vae_scale < 2:
            limit = "at least 2 frames, a square of pixels"
            raise InputError("vae_stride", self.vae_stride, limit)

    @classmethod
    def pro(cls) -> FlashHeadConfig:
        """The published Pro model: 1.497 billion parameters, latents of the Wan VAE."""
        return _published(out_dim=16, patch_size=(1, 2, 2), vae_stride=(4, 8, 8))

    @classmethod
    def lite(cls) -> FlashHeadConfig:
        """The published Lite model: 1.516 billion parameters, latents of the LTX VAE."""
        return _published(out_dim=128, patch_size=(1, 1, 1), vae_stride=(8, 32, 32))

    @property
    def head_dim(self) -> int:
        """Channels per attention head."""
        return self.dim // self.num_heads

    @property
    def patch_hw(self) -> int:
        """Latent rows and columns per token."""
        return self.patch_size[1]

    @property
    def vae_scale(self) -> int:
        """Video frames per latent frame."""
        return self.vae_stride[0]

    @property
    def vae_stride_hw(self) -> int:
        """Pixel rows and columns per latent."""
        return self.vae_stride[1]

    @property
    def output_dim(self) -> int:
        """Width of an audio token: that of the residual stream."""
        return self.dim

    @property
    def group_window(self) -> int:
        """Speech-feature entries per later latent frame (8 or 12; the first: ``audio_window``)."""
        return group_window(self)

    @property
    def cond_dim(self) -> int:
        """Channels of the conditioning input y: latents without a mask."""
        return self.in_dim - self.out_dim

    def latent_frames(self, frames: int) -> int:
        """Latent frames of ``frames`` video frames. Raises InputError unless 1 + n * scale."""
        return latent_frames(frames, self.vae_scale)

    def to_dict(self) -> dict[str, Any]:
        """Returns a JSON-ready dictionary with the published keys, for ``from_dict``."""
        values = super().to_dict()
        constants = {f.name: f.default for f in dataclasses.fields(self) if f.name in _UNWRITTEN}
        usual = [name for name, value in constants.items() if values[name] == value]
        return _FIXED | {n: value for n, value in values.items() if n not in usual}

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


def _published(*, out_dim: int, patch_size: Triple, vae_stride: Triple) -> FlashHeadConfig:
    return FlashHeadConfig(
        dim=1536,
        ffn_dim=8960,
        num_heads=12,
        num_layers=30,
        in_dim=2 * out_dim,
        out_dim=out_dim,
        patch_size=patch_size,
        vae_stride=vae_stride,
    )
