"""The folder of ``flashhead-1.3b`` or ``flashhead-1.3b-lite``: a network, a VAE, speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from flashtalk.engine.checkpoint import Checkpoint
from flashtalk.engine.codec import AnyVAE, VideoCodec, made_codec
from flashtalk.engine.encoders import NoEncoders
from flashtalk.engine.flashhead_architecture import PUBLISHED_SAMPLING, FlashHeadArchitecture
from flashtalk.engine.flashhead_denoiser import FlashHeadDenoiser
from flashtalk.engine.placement import Placement, to_inference_form
from flashtalk.engine.sampling import SAMPLING_FILE, Sampling, load_sampling, load_stream_numbers
from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint import (
    CONFIG,
    FlashHeadLayout,
    Variant,
    find_flashhead,
    on_meta,
)
from flashtalk.models.flashhead import weights as network_weights
from flashtalk.models.flashhead.model import FlashHead
from flashtalk.models.ltx_vae import weights as ltx_weights
from flashtalk.models.ltx_vae.config import LtxVaeConfig
from flashtalk.models.ltx_vae.model import LtxVae
from flashtalk.models.vae import weights as wan_weights
from flashtalk.models.vae.config import VAEConfig
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.wav2vec2 import weights as audio_weights
from flashtalk.models.wav2vec2.config import AudioConfig
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from flashtalk.overlays import Overlay
from flashtalk.presets import FLASHHEAD, FLASHHEAD_LITE
from flashtalk.streaming import preset_spec

VARIANTS: Mapping[str, Variant] = {FLASHHEAD: "pro", FLASHHEAD_LITE: "lite"}


@dataclass(frozen=True)
class FlashHeadCheckpoint(Checkpoint):
    """Weights of a FlashHead preset.

    Args:
        layout: paths of its parts.
        sizes: of its models.
    """

    layout: FlashHeadLayout
    sizes: FlashHeadArchitecture

    @classmethod
    def open(
        cls,
        preset: str,
        folder: Path,
        placement: Placement,
        *,
        sampling: Sampling | None = None,
        overlays: Sequence[Overlay] = (),
    ) -> FlashHeadCheckpoint:
        """Reads all of a folder except the weights. Arguments and errors as ``load_pipeline``.

        The published folder has no settings: they are those of the published code. A folder with
        models of other sizes says so in its ``config.json`` files (of the Wan VAE:
        ``VAE_Wan/config.json``), and may have a ``pipeline.json``.
        """
        layout = find_flashhead(folder, VARIANTS[preset])
        own = (folder / SAMPLING_FILE).is_file()
        chosen = sampling or (load_sampling(folder) if own else PUBLISHED_SAMPLING)
        sizes = FlashHeadArchitecture(
            network=network_weights.load_config(layout.network),
            vae=_vae_config(layout),
            audio=audio_weights.load_config(layout.wav2vec2),
        )
        try:
            spec = sizes.spec(load_stream_numbers(folder, preset_spec(preset)))
        except InputError as error:
            raise WeightsError(f"{folder}: {error}") from error
        return cls(preset, chosen, placement, spec, layout, sizes, overlays=tuple(overlays))

    @property
    def parts(self) -> Mapping[str, Path]:
        """Returns the file or folder of each model, and ``pipeline.json`` if there is one.

        Names contain the variant: Pro and Lite share a folder and most shapes.
        """
        layout = self.layout
        parts = {
            f"{self.preset}/network": layout.network,
            "vae": layout.vae,
            "wav2vec2": layout.wav2vec2,
        }
        if (config := _wan_config(layout)) is not None:
            parts["vae_config"] = config
        if (settings := layout.network.parent / SAMPLING_FILE).is_file():
            parts[""] = settings
        return parts

    @property
    def speech(self) -> AudioConfig:
        """Returns the sizes of the speech encoder."""
        return self.sizes.audio

    @property
    def tokens(self) -> None:
        """Returns ``None``: the network takes neither image nor text tokens."""
        return

    @property
    def measures_loudness(self) -> bool:
        """Returns False: the published code has no such step."""
        return False

    def load_denoiser(self) -> FlashHeadDenoiser:
        """Loads the network."""
        source, config = self.layout.network, self.sizes.network
        network = self._built(lambda: FlashHead(config), self.transformer_state(), source)
        to_inference_form(network, self.placement)
        return FlashHeadDenoiser(network)

    @property
    def network_path(self) -> Path:
        """Returns the folder of the network."""
        return self.layout.network

    def convert_network(self, published: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Converts a network's tensors in a file to our names, without unused ones."""
        return network_weights.convert(published)

    def bare_network(self) -> FlashHead:
        """Returns the network on the meta device, without weights."""
        return on_meta(lambda: FlashHead(self.sizes.network))

    def load_encoders(self, *, parked: bool = False) -> NoEncoders:
        """Returns encoders that refuse a prompt."""
        return NoEncoders(self.preset)

    def load_codec(self) -> VideoCodec:
        """Loads the video VAE."""
        compiled = self.placement.compiled
        return made_codec(self.load_vae(), self.spec, compiled=compiled, still=True)

    def load_vae(self) -> AnyVAE:
        """Loads the network of the video codec."""
        config, source = self.sizes.vae, self.layout.vae
        if isinstance(config, LtxVaeConfig):
            return self._build(lambda: LtxVae(config), source, ltx_weights.convert)
        return self._build(lambda: VideoVAE(config), source, wan_weights.convert)

    def load_speech(self) -> Wav2Vec2Features:
        """Loads the network of the speech encoder, float32."""
        return self._build(
            lambda: Wav2Vec2Features(self.sizes.audio),
            self.layout.wav2vec2,
            audio_weights.convert_published,
            torch.float32,
        )


def _vae_config(layout: FlashHeadLayout) -> VAEConfig | LtxVaeConfig:
    if layout.vae.is_dir():
        return ltx_weights.load_config(layout.vae)
    if (config := _wan_config(layout)) is not None:
        return wan_weights.load_config(config.parent)
    return VAEConfig.flashtalk_14b()


def _wan_config(layout: FlashHeadLayout) -> Path | None:
    """Returns the configuration beside the Wan VAE's file, which the published folder lacks."""
    beside = layout.vae.parent / CONFIG
    return beside if layout.vae.is_file() and beside.is_file() else None
