"""The memory for the weights of a preset, counted without loading any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from flashtalk.models.clip.config import ClipConfig
from flashtalk.models.clip.model import ClipVision
from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.dit.model import DiT
from flashtalk.models.flashhead.config import FlashHeadConfig
from flashtalk.models.flashhead.model import FlashHead
from flashtalk.models.ltx_vae.config import LtxVaeConfig
from flashtalk.models.ltx_vae.model import LtxVae
from flashtalk.models.umt5.config import TextConfig
from flashtalk.models.umt5.model import TextEncoder
from flashtalk.models.vae.config import VAEConfig
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.wav2vec2.config import AudioConfig
from flashtalk.models.wav2vec2.model import Wav2Vec2Features

Builder = Callable[[], nn.Module]

PRESETS: Mapping[str, Mapping[str, Builder]] = {
    "tiny": {
        "dit": lambda: DiT(DiTConfig.tiny()),
        "vae": lambda: VideoVAE(VAEConfig.tiny()),
        "wav2vec2": lambda: Wav2Vec2Features(AudioConfig.tiny()),
        "clip": lambda: ClipVision(ClipConfig.tiny()),
        "umt5": lambda: TextEncoder(TextConfig.tiny()),
    },
    "flashtalk-14b": {
        "dit": lambda: DiT(DiTConfig.flashtalk_14b()),
        "vae": lambda: VideoVAE(VAEConfig.flashtalk_14b()),
        "wav2vec2": lambda: Wav2Vec2Features(AudioConfig.flashtalk_14b()),
        "clip": lambda: ClipVision(ClipConfig.flashtalk_14b()),
        "umt5": lambda: TextEncoder(TextConfig.flashtalk_14b()),
    },
    "flashhead-1.3b": {
        "network": lambda: FlashHead(FlashHeadConfig.pro()),
        "vae": lambda: VideoVAE(VAEConfig.flashtalk_14b()),
        "wav2vec2": lambda: Wav2Vec2Features(AudioConfig.flashtalk_14b()),
    },
    "flashhead-1.3b-lite": {
        "network": lambda: FlashHead(FlashHeadConfig.lite()),
        "vae": lambda: LtxVae(LtxVaeConfig.flashhead_lite()),
        "wav2vec2": lambda: Wav2Vec2Features(AudioConfig.flashtalk_14b()),
    },
}
# float32, otherwise bfloat16
BYTES_PER_PARAMETER: Mapping[str, int] = {
    preset: 4 if preset == "tiny" else 2 for preset in PRESETS
}
# Memory besides the weights: activations, cached keys and values, PyTorch itself. An estimate, not
# a measurement: a tenth of the weights and 1 GiB.
_ROOM_SHARE = 0.1
ROOM_BYTES = 1 << 30


@dataclass(frozen=True)
class Footprint:
    """Weights of one preset.

    Attributes:
        preset: its name.
        parameters: number of parameters of each model.
        weight_bytes: sum of all, in the dtype that the preset runs in.
    """

    preset: str
    parameters: dict[str, int]
    weight_bytes: int

    @property
    def needed_bytes(self) -> int:
        """Returns the memory for weights and working memory (an estimate)."""
        return self.weight_bytes + round(self.weight_bytes * _ROOM_SHARE) + ROOM_BYTES

    def fits(self, free_bytes: int) -> bool:
        """Whether this much free memory is enough for all models on one device."""
        return self.needed_bytes <= free_bytes


def parameter_count(build: Builder) -> int:
    """Counts the parameters of a model on the meta device: 14B take no memory and 1 or 2 s."""
    with torch.device("meta"):
        model = build()
    return sum(parameter.numel() for parameter in model.parameters())


def footprint(preset: str) -> Footprint:
    """Counts the parameters of every model of a preset."""
    parameters = {name: parameter_count(build) for name, build in PRESETS[preset].items()}
    weight_bytes = sum(parameters.values()) * BYTES_PER_PARAMETER[preset]
    return Footprint(preset, parameters, weight_bytes)
