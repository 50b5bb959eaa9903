"""The sizes of a FlashHead preset: network, VAE and speech encoder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from flashtalk.engine.sampling import Sampling
from flashtalk.errors import WeightsError
from flashtalk.models.flashhead.config import FlashHeadConfig
from flashtalk.models.ltx_vae.config import LtxVaeConfig
from flashtalk.models.vae.config import VAEConfig
from flashtalk.models.wav2vec2.config import AudioConfig
from flashtalk.presets import FLASHHEAD, FLASHHEAD_LITE
from flashtalk.streaming import StreamSpec

PUBLISHED_SAMPLING = Sampling(height_px=512, width_px=512, prompt="")
"""Settings of the published student: 4 steps, no guidance."""


@dataclass(frozen=True)
class FlashHeadArchitecture:
    """The three configurations of a FlashHead preset.

    Raises:
        WeightsError: they do not fit each other.
    """

    network: FlashHeadConfig
    vae: VAEConfig | LtxVaeConfig
    audio: AudioConfig

    def __post_init__(self) -> None:
        network, vae, audio = self.network, self.vae, self.audio
        pairs = {
            "latent channels": (network.out_dim, vae.z_channels),
            "frames per latent": (network.vae_scale, vae.stride_t),
            "pixels per latent": (network.vae_stride_hw, vae.stride_hw),
            "speech layers": (network.audio_blocks, audio.num_hidden_layers),
            "speech width": (network.audio_channels, audio.hidden_size),
        }
        wrong = [
            f"{name} {ours} and {other}" for name, (ours, other) in pairs.items() if ours != other
        ]
        if wrong:
            raise WeightsError(f"network and encoders do not fit: {', '.join(wrong)}")

    def spec(self, numbers: StreamSpec) -> StreamSpec:
        """Returns the spec of these models; arguments and errors as ``Architecture.spec``."""
        return dataclasses.replace(
            numbers,
            audio_window=self.network.audio_window,
            vae_stride_t=self.vae.stride_t,
            vae_stride_hw=self.vae.stride_hw,
            patch_hw=self.network.patch_hw,
            latent_channels=self.vae.z_channels,
        )

    @classmethod
    def pro(cls) -> FlashHeadArchitecture:
        """Returns the published sizes of ``flashhead-1.3b``."""
        return cls(FlashHeadConfig.pro(), VAEConfig.flashtalk_14b(), AudioConfig.flashtalk_14b())

    @classmethod
    def lite(cls) -> FlashHeadArchitecture:
        """Returns the published sizes of ``flashhead-1.3b-lite``."""
        return cls(
            FlashHeadConfig.lite(), LtxVaeConfig.flashhead_lite(), AudioConfig.flashtalk_14b()
        )


FLASHHEAD_ARCHITECTURES = {
    FLASHHEAD: FlashHeadArchitecture.pro,
    FLASHHEAD_LITE: FlashHeadArchitecture.lite,
}
