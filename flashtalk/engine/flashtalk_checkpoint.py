"""The folder of ``tiny`` or ``flashtalk-14b``: a transformer, a VAE and three encoders."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from flashtalk.engine.checkpoint import Checkpoint, Convert, TokenShapes
from flashtalk.engine.codec import VideoCodec, made_codec
from flashtalk.engine.denoiser import DiTDenoiser
from flashtalk.engine.encoders import ConditionEncoders, park
from flashtalk.engine.pipeline import Architecture, FlashTalkPipeline
from flashtalk.engine.placement import Placement, to_inference_form
from flashtalk.engine.sampling import SAMPLING_FILE, Sampling, load_sampling, load_stream_numbers
from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint import (
    CheckpointLayout,
    check_state,
    find_checkpoint,
    on_meta,
)
from flashtalk.models.clip import weights as clip_weights
from flashtalk.models.clip.model import ClipVision
from flashtalk.models.dit import weights as dit_weights
from flashtalk.models.dit.model import DiT
from flashtalk.models.umt5 import weights as text_weights
from flashtalk.models.umt5.model import TextEncoder
from flashtalk.models.umt5.text import Tokenizer, load_tokenizer
from flashtalk.models.vae import weights as vae_weights
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.wav2vec2 import weights as audio_weights
from flashtalk.models.wav2vec2.config import AudioConfig
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from flashtalk.overlays import Overlay
from flashtalk.presets import PUBLISHED, TINY
from flashtalk.streaming import preset_spec


@dataclass(frozen=True)
class FlashTalkCheckpoint(Checkpoint):
    """Weights of ``tiny`` or ``flashtalk-14b``.

    Args:
        layout: paths of its parts.
        sizes: of its models.
    """

    layout: CheckpointLayout
    sizes: Architecture

    @classmethod
    def open(
        cls,
        preset: str,
        folder: Path,
        placement: Placement,
        *,
        sampling: Sampling | None = None,
        architecture: Architecture | None = None,
        overlays: Sequence[Overlay] = (),
    ) -> FlashTalkCheckpoint:
        """Reads all of a folder except the weights. Arguments and errors as ``load_pipeline``."""
        layout = find_checkpoint(folder)
        if layout.kind == "own":
            found, chosen = _own_architecture(layout), sampling or load_sampling(folder)
        else:
            found = _published_architecture(layout, architecture or Architecture.flashtalk_14b())
            chosen = sampling or Sampling()
        try:
            spec = found.spec(load_stream_numbers(folder, preset_spec(preset)))
        except InputError as error:
            raise WeightsError(f"{folder}: {error}") from error
        return cls(preset, chosen, placement, spec, layout, found, overlays=tuple(overlays))

    @property
    def parts(self) -> Mapping[str, Path]:
        """Returns the file or folder of each model, and ``pipeline.json`` if there is one."""
        return parts_of(self.layout)

    @property
    def speech(self) -> AudioConfig:
        """Returns the sizes of the speech encoder."""
        return self.sizes.audio

    @property
    def tokens(self) -> TokenShapes:
        """Returns the shapes of image and text tokens."""
        dit = self.sizes.dit
        return TokenShapes(dit.clip_tokens, dit.clip_dim, dit.text_len, dit.text_dim)

    def load_denoiser(self) -> DiTDenoiser:
        """Loads the transformer."""
        state, source = self.transformer_state(), self.layout.dit
        dit = self._built(lambda: DiT(self.sizes.dit), state, source)
        to_inference_form(dit, self.placement)
        return DiTDenoiser(dit)

    def load_encoders(self, *, parked: bool = False) -> ConditionEncoders:
        """Loads the encoders of portrait and prompt; ``parked`` as in ``ConditionEncoders``."""
        clip, text, device = self.load_clip(), self.load_text(), self.placement.device
        if parked:
            park(clip, device)
            park(text, device)
        return ConditionEncoders(clip, text, self.load_tokenizer(), device, parked=parked)

    def load_codec(self) -> VideoCodec:
        """Loads the video VAE."""
        return made_codec(self.load_vae(), self.spec, compiled=self.placement.compiled)

    def load_speech(self) -> Wav2Vec2Features:
        """Loads the network of the speech encoder, float32."""
        return self._build(
            lambda: Wav2Vec2Features(self.sizes.audio),
            self.layout.wav2vec2,
            self._converting(audio_weights.convert_published),
            torch.float32,
        )

    def load(self, *, offload_encoders: bool = False) -> FlashTalkPipeline:
        """Loads all stages, as ``load_pipeline``."""
        return FlashTalkPipeline(
            spec=self.spec,
            audio=self.load_audio(),
            denoiser=self.load_denoiser(),
            codec=self.load_codec(),
            name=self.preset,
            sampling=self.sampling,
            encoders=self.load_encoders(parked=offload_encoders),
        )

    def load_clip(self) -> ClipVision:
        """Loads the image encoder."""
        convert = self._converting(clip_weights.convert_published)
        return self._build(lambda: ClipVision(self.sizes.clip), self.layout.clip, convert)

    def load_text(self) -> TextEncoder:
        """Loads the text encoder."""
        convert = self._converting(text_weights.convert_published)
        return self._build(lambda: TextEncoder(self.sizes.text), self.layout.umt5, convert)

    def load_tokenizer(self) -> Tokenizer:
        """Loads the tokenizer of the text encoder."""
        return load_tokenizer(self.layout.tokenizer, self.sizes.text.text_len)

    def load_vae(self) -> VideoVAE:
        """Loads the network of the video codec."""
        convert = self._converting(vae_weights.convert)
        return self._build(lambda: VideoVAE(self.sizes.vae), self.layout.vae, convert)

    @property
    def network_path(self) -> Path:
        """Returns the folder of the transformer."""
        return self.layout.dit

    def convert_network(self, published: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Converts a transformer's tensors in a file to our names."""
        return dit_weights.convert(published)

    def bare_network(self) -> DiT:
        """Returns the network on the meta device, without weights."""
        return on_meta(lambda: DiT(self.sizes.dit))

    def transformer_state(self) -> Mapping[str, Tensor]:
        """Returns the network's weights with the overlays; memory-mapped, or computed at access.

        Raises:
            InputError, WeightsError: as ``Checkpoint.merged``; also without audio layers.
        """
        state = super().transformer_state()
        if not dit_weights.has_audio(state):
            try:
                check_state(self.bare_network(), state, source=self.layout.dit)
            except WeightsError as error:
                raise WeightsError(f"{error}. {dit_weights.NO_AUDIO}") from error
        return state

    def _converting(self, convert: Convert) -> Convert:
        """Returns a conversion from the published names to ours, for a published folder."""
        return convert if self.layout.kind == "published" else lambda tensors: tensors


def parts_of(layout: CheckpointLayout) -> Mapping[str, Path]:
    """Returns the file or folder of each model, and ``pipeline.json`` if there is one."""
    parts = {
        "dit": layout.dit,
        "vae": layout.vae,
        "wav2vec2": layout.wav2vec2,
        "clip": layout.clip,
        "umt5": layout.umt5,
    }
    if layout.tokenizer != layout.umt5:
        parts["tokenizer"] = layout.tokenizer
    # Steps and guidance determine the frames as much as the weights do.
    if layout.kind == "own" and (settings := layout.dit.parent / SAMPLING_FILE).is_file():
        parts[""] = settings
    return parts


def flashtalk_checkpoint(checkpoint: Checkpoint) -> FlashTalkCheckpoint:
    """Returns a checkpoint of this kind.

    Raises:
        InputError: a preset of another kind, which can be run but not trained.
    """
    if isinstance(checkpoint, FlashTalkCheckpoint):
        return checkpoint
    raise InputError("preset", checkpoint.preset, f"{TINY} or {PUBLISHED}: others are not trained")


def _own_architecture(layout: CheckpointLayout) -> Architecture:
    return Architecture(
        dit=dit_weights.load_config(layout.dit),
        vae=vae_weights.load_config(layout.vae),
        audio=audio_weights.load_config(layout.wav2vec2),
        clip=clip_weights.load_config(layout.clip),
        text=text_weights.load_config(layout.umt5),
    )


def _published_architecture(layout: CheckpointLayout, sizes: Architecture) -> Architecture:
    return dataclasses.replace(
        sizes,
        dit=dit_weights.load_config(layout.dit),
        audio=audio_weights.load_config(layout.wav2vec2),
    )
