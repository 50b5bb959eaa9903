"""The configuration of the LTX video VAE: a frozen dataclass that reads the published JSON."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Self

from flashtalk.errors import InputError
from flashtalk.validation import JsonConfig, require

SPATIAL_STRIDE = 32
TEMPORAL_STRIDE = 8
PATCH_PX = 4

# Entries of the published config.json that describe the structure of this implementation.
_FIXED: dict[str, object] = {
    "_class_name": "AutoencoderKLLTXVideo",
    "decoder_causal": False,
    "encoder_causal": True,
    "in_channels": 3,
    "out_channels": 3,
    "patch_size": PATCH_PX,
    "patch_size_t": 1,
    "scaling_factor": 1.0,
}
_VERSION = "_diffusers_version"


@dataclass(frozen=True)
class LtxVaeConfig(JsonConfig):
    """A 3D VAE of stride 8x32x32 (LTX-Video, first release; ``AutoencoderKLLTXVideo``).

    The defaults are the published sizes. The encoder is causal, the decoder is not. Statistics of
    the latents are tensors of the weight file.

    Args:
        block_out_channels: width of every level, finest first; the encoder starts with the first,
            and the last is the width of the coarsest level on both sides.
        layers_per_block: residual blocks of every level, finest first, and of the middle.
        spatio_temporal_scaling: whether level ``i`` of the encoder ends by halving frames, rows
            and columns; three do.
        latent_channels: channels of a latent.
        resnet_norm_eps: of the layer norm in shortcuts that change the width.

    Raises:
        InputError: a value that this implementation does not support; names the field.
    """

    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: tuple[int, ...] = (4, 3, 3, 3, 4)
    spatio_temporal_scaling: tuple[bool, ...] = (True, True, True, False)
    latent_channels: int = 128
    resnet_norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        _check_counts("block_out_channels", self.block_out_channels)
        levels = len(self.block_out_channels)
        _check_counts("layers_per_block", self.layers_per_block, levels + 1)
        flags = self.spatio_temporal_scaling
        if len(flags) != levels:
            limit = f"one flag per level ({levels})"
            raise InputError("spatio_temporal_scaling", flags, limit)
        if self.stride_t != TEMPORAL_STRIDE:
            limit = f"stride {TEMPORAL_STRIDE}: three levels that halve"
            raise InputError("spatio_temporal_scaling", flags, limit)
        if self.latent_channels < 1:
            raise InputError("latent_channels", self.latent_channels, "a positive integer")
        if not 0 < self.resnet_norm_eps < math.inf:
            raise InputError("resnet_norm_eps", self.resnet_norm_eps, "a positive number")

    @classmethod
    def flashhead_lite(cls) -> LtxVaeConfig:
        """The published VAE of ``flashhead-1.3b-lite`` (419 M parameters)."""
        return cls()

    @property
    def stride_hw(self) -> int:
        """Pixels per latent row and column."""
        return PATCH_PX * 2 ** sum(self.spatio_temporal_scaling)

    @property
    def stride_t(self) -> int:
        """Video frames per latent frame; the first frame has a latent of its own."""
        return 2 ** sum(self.spatio_temporal_scaling)

    @property
    def z_channels(self) -> int:
        """Channels of a latent, under the name that every VAE of this project has."""
        return self.latent_channels

    def to_dict(self) -> dict[str, Any]:
        """Returns the published form, ready for JSON, for ``from_dict``."""
        return dict(sorted((_FIXED | super().to_dict()).items()))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Reads a published ``config.json``.

        Every entry must be there: the defaults of the published class depend on its version, which
        itself is not read.

        Raises:
            InputError: an unknown or missing entry, or an unsupported value; names the entry.
        """
        known = {*_FIXED, *(field.name for field in dataclasses.fields(cls))}
        if missing := sorted(known - values.keys()):
            raise InputError(", ".join(missing), "missing", "required")
        require(_FIXED, values)
        dropped = _FIXED.keys() | {_VERSION}
        return super().from_dict({n: v for n, v in values.items() if n not in dropped})


def _check_counts(field: str, values: tuple[int, ...], length: int | None = None) -> None:
    """Raises InputError unless ``values`` are positive integers, ``length`` of them if given."""
    if not values or min(values) < 1:
        raise InputError(field, values, "a list of positive integers")
    if length is not None and len(values) != length:
        raise InputError(field, values, f"{length} values: one per level and one for the middle")
