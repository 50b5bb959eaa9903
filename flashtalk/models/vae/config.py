"""The configuration of the causal video VAE: a frozen dataclass, two presets, a JSON form."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from flashtalk.errors import InputError
from flashtalk.validation import JsonConfig

SPATIAL_STRIDE = 8
TEMPORAL_STRIDE = 4

# Per-channel statistics of the published Wan2.1 latents (Wan2.1 release, vae.py constants).
_WAN_MEAN = (
    -0.7571,
    -0.7089,
    -0.9113,
    0.1075,
    -0.1745,
    0.9653,
    -0.1517,
    1.5508,
    0.4134,
    -0.0715,
    0.5517,
    -0.3632,
    -0.1922,
    -0.9497,
    0.2503,
    -0.2921,
)
_WAN_STD = (
    2.8184,
    1.4541,
    2.3275,
    2.6558,
    1.2196,
    1.7708,
    2.6052,
    2.0743,
    3.2687,
    2.1526,
    2.8652,
    1.5579,
    1.6382,
    1.1253,
    2.8251,
    1.9160,
)


@dataclass(frozen=True)
class VAEConfig(JsonConfig):
    """A causal 3D VAE of stride 4x8x8 with ``z_channels`` latent channels.

    The defaults are the published Wan2.1 structure. Level ``i`` has ``dim * dim_mult[i]`` channels;
    transition ``i`` lies between levels ``i`` and ``i + 1``.

    Args:
        dim: width unit of the encoder.
        decoder_dim: width unit of the decoder; ``None`` is ``dim``.
        dim_mult: width of every level, in units of ``dim``.
        num_res_blocks: residual blocks per encoder level.
        decoder_res_blocks: residual blocks per decoder level; ``None`` is one more than the
            encoder has, as published.
        spatial_down: whether transition ``i`` halves height and width.
        temporal_down: whether transition ``i`` halves the frame rate (frame 0 stays alone).
        patch_size: pixel-unshuffle factor of the stem and pixel-shuffle factor of the head.
        patch_frames: frames per patch of the stem and the head. Above 1 the stem is linear
            over whole tubes of ``patch_frames`` x ``patch_size`` x ``patch_size`` pixels, with
            frame 0 separate, and a single level of ``FactorisedBlock`` runs at the latent rate
            (``tubes.py``); needs ``patch_size`` 8 and ``patch_frames`` 4.
        middle_attention: single-head attention inside each frame at the lowest resolution.
        linear_shortcuts: parameter-free residual paths around the resamplers.
        linear_bypass: one linear causal path from pixels to latents and back, added to the
            network's output (see ``bypass.py``).
        latent_mean, latent_std: per-channel statistics; ``encode`` returns
            ``(mu - mean) / std``.
    """

    dim: int = 96
    decoder_dim: int | None = None
    z_channels: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    decoder_res_blocks: int | None = None
    spatial_down: tuple[bool, ...] = (True, True, True)
    temporal_down: tuple[bool, ...] = (False, True, True)
    patch_size: int = 1
    patch_frames: int = 1
    middle_attention: bool = True
    linear_shortcuts: bool = False
    linear_bypass: bool = False
    latent_mean: tuple[float, ...] = _WAN_MEAN
    latent_std: tuple[float, ...] = _WAN_STD

    def __post_init__(self) -> None:
        steps = len(self.dim_mult) - 1
        for field in ("spatial_down", "temporal_down"):
            if len(getattr(self, field)) != steps:
                raise InputError(field, getattr(self, field), f"one flag per transition ({steps})")
        if self.stride_hw != SPATIAL_STRIDE:
            limit = f"stride {SPATIAL_STRIDE}"
            raise InputError("patch_size x spatial_down", self.stride_hw, limit)
        if self.stride_t != TEMPORAL_STRIDE:
            limit = f"stride {TEMPORAL_STRIDE}"
            raise InputError("patch_frames x temporal_down", self.stride_t, limit)
        if self.patch_frames > 1 and (steps or self.patch_size != SPATIAL_STRIDE):
            raise InputError("patch_frames", self.patch_frames, "one level and patch_size 8")
        for field in ("latent_mean", "latent_std"):
            if len(getattr(self, field)) != self.z_channels:
                raise InputError(field, getattr(self, field), f"{self.z_channels} values")
        if min(self.latent_std) <= 0:
            raise InputError("latent_std", self.latent_std, "positive values")

    @classmethod
    def flashtalk_14b(cls) -> VAEConfig:
        """The published Wan2.1 VAE (127 M parameters)."""
        return cls()

    @classmethod
    def tiny(cls) -> VAEConfig:
        """A VAE that two CPU cores train and run: linear tubes, factorised blocks, a bypass."""
        return cls(
            dim=128,
            dim_mult=(1,),
            num_res_blocks=4,
            decoder_res_blocks=8,
            spatial_down=(),
            temporal_down=(),
            patch_size=8,
            patch_frames=4,
            linear_bypass=True,
            latent_mean=(0.0,) * 16,
            latent_std=(1.0,) * 16,
        )

    @property
    def stride_hw(self) -> int:
        """Pixels per latent row and column."""
        return self.patch_size * 2 ** sum(self.spatial_down)

    @property
    def stride_t(self) -> int:
        """Video frames per latent frame."""
        return self.patch_frames * 2 ** sum(self.temporal_down)

    @property
    def encoder_dims(self) -> tuple[int, ...]:
        """Channels of every encoder level, finest first."""
        return tuple(self.dim * m for m in self.dim_mult)

    @property
    def decoder_dims(self) -> tuple[int, ...]:
        """Channels of every decoder level, coarsest first."""
        return tuple((self.decoder_dim or self.dim) * m for m in reversed(self.dim_mult))

    @property
    def decoder_blocks(self) -> int:
        """Residual blocks per decoder level."""
        return (
            self.num_res_blocks + 1
            if self.decoder_res_blocks is None
            else (self.decoder_res_blocks)
        )

    def with_latent_stats(self, mean: Sequence[float], std: Sequence[float]) -> VAEConfig:
        """Returns the configuration with other latent statistics (raw latent units)."""
        return dataclasses.replace(
            self,
            latent_mean=tuple(float(v) for v in mean),
            latent_std=tuple(float(v) for v in std),
        )
