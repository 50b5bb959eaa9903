"""All models as one value, without session state."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from flashtalk.arrays import Rgb
from flashtalk.engine.audio import AudioEncoder
from flashtalk.engine.codec import Reference, VideoCodec
from flashtalk.engine.denoiser import Conditioning, Denoiser, DiTDenoiser, conditioning_digest
from flashtalk.engine.encoders import ConditionEncoders, Encoders
from flashtalk.engine.sampling import Sampling
from flashtalk.errors import WeightsError
from flashtalk.models.clip.config import ClipConfig
from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.umt5.config import TextConfig
from flashtalk.models.vae.config import VAEConfig
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.wav2vec2.config import AudioConfig
from flashtalk.streaming import StreamSpec


@dataclass(frozen=True)
class Stages:
    """The three stages of a chunk.

    Args:
        spec: spec of the stream.
        audio, denoiser, codec: the three stages.
    """

    spec: StreamSpec
    audio: AudioEncoder
    denoiser: Denoiser
    codec: VideoCodec


@dataclass(frozen=True)
class Pipeline(Stages):
    """Loaded models and their settings. Sessions can share one.

    Args:
        name: the preset, for messages.
        sampling: default settings of these weights.
        encoders: of portrait and prompt.
    """

    name: str
    sampling: Sampling
    encoders: Encoders

    def condition(
        self, portrait_HWC: Rgb, reference: Reference, prompt: str, weights_digest: str = ""
    ) -> Conditioning:
        """Computes the network's inputs that are constant in a session.

        Args:
            portrait_HWC: uint8 [H, W, 3], the picture of ``reference``.
            reference: the portrait's latents (``VideoCodec.encode_reference``).
            prompt: any text, may be empty.
            weights_digest: digest of the weights, to distinguish conditionings of several.

        Raises:
            InputError: a prompt for a preset without a text encoder.
        """
        encoded = self.encoders.embed(portrait_HWC, prompt)
        digest = conditioning_digest(reference.digest, reference.z_BCFHW, prompt, weights_digest)
        return self.denoiser.conditioned(encoded, reference.z_BCFHW, digest)


@dataclass(frozen=True)
class FlashTalkPipeline(Pipeline):
    """The models of ``tiny`` and ``flashtalk-14b``; fields as in ``Pipeline``."""

    denoiser: DiTDenoiser
    encoders: ConditionEncoders

    @property
    def vae(self) -> VideoVAE:
        """Returns the VAE of the codec."""
        assert isinstance(self.codec.vae, VideoVAE)
        return self.codec.vae


@dataclass(frozen=True)
class Architecture:
    """The five configurations of a preset.

    Raises:
        WeightsError: they do not fit each other.
    """

    dit: DiTConfig
    vae: VAEConfig
    audio: AudioConfig
    clip: ClipConfig
    text: TextConfig

    def __post_init__(self) -> None:
        pairs = {
            "latent channels": (self.dit.out_dim, self.vae.z_channels),
            "frames per latent": (self.dit.vae_scale, self.vae.stride_t),
            "speech layers": (self.dit.audio_blocks, self.audio.num_hidden_layers),
            "speech width": (self.dit.audio_channels, self.audio.hidden_size),
            "image tokens": (self.dit.clip_tokens, self.clip.tokens),
            "image width": (self.dit.clip_dim, self.clip.width),
            "text length": (self.dit.text_len, self.text.text_len),
            "text width": (self.dit.text_dim, self.text.dim),
        }
        wrong = [
            f"{name} {ours} and {other}" for name, (ours, other) in pairs.items() if ours != other
        ]
        if wrong:
            raise WeightsError(f"transformer and encoders do not fit: {', '.join(wrong)}")

    def spec(self, numbers: StreamSpec) -> StreamSpec:
        """Returns the stream spec of these models.

        Args:
            numbers: source of the frame and sample counts; the sizes of latents and speech
                windows come from the models.

        Raises:
            InputError: a number of frames that such latents cannot have.
        """
        return dataclasses.replace(
            numbers,
            audio_window=self.dit.audio_window,
            vae_stride_t=self.vae.stride_t,
            vae_stride_hw=self.vae.stride_hw,
            patch_hw=self.dit.patch_hw,
            latent_channels=self.vae.z_channels,
        )

    @classmethod
    def flashtalk_14b(cls) -> Architecture:
        """Returns the published sizes."""
        return cls(
            DiTConfig.flashtalk_14b(),
            VAEConfig.flashtalk_14b(),
            AudioConfig.flashtalk_14b(),
            ClipConfig.flashtalk_14b(),
            TextConfig.flashtalk_14b(),
        )

    @classmethod
    def tiny(cls) -> Architecture:
        """Returns sizes for two CPU cores."""
        return cls(
            DiTConfig.tiny(),
            VAEConfig.tiny(),
            AudioConfig.tiny(),
            ClipConfig.tiny(),
            TextConfig.tiny(),
        )
