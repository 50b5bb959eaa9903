"""The finished models that Stage 1 stands on: frozen, loaded from the weights directory.

Legend: B batch, C colour or latent channels, T frames, H W pixels, F h w latent axes, M image
tokens, D width, S samples, L layers.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from flashtalk.engine import AudioEncoder, Denoiser, Stages, VideoCodec
from flashtalk.errors import InputError
from flashtalk.models.checkpoint import build, load_state
from flashtalk.models.clip import weights as clip_weights
from flashtalk.models.clip.model import ClipVision
from flashtalk.models.dit.model import DiT
from flashtalk.models.vae import weights as vae_weights
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.wav2vec2 import weights as audio_weights
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from flashtalk.streaming.spec import StreamSpec
from training.data.stage1_cache import Encoders, files_digest
from training.places import Places

ROLES = {"vae": "tiny_vae", "wav2vec2": "tiny_audio", "clip": "tiny_identity"}
WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class FrozenModels:
    """VAE, speech encoder and image encoder, without gradients.

    With ``bf16`` speech and video are encoded in bfloat16, 4 times as fast on a CPU that has it;
    latents then differ by 0.5 % of their spread.
    """

    vae: VideoVAE
    audio: Wav2Vec2Features
    clip: ClipVision
    digest: str
    device: torch.device
    bf16: bool = False

    @torch.no_grad()
    def video(self, video_BCTHW: Tensor) -> Tensor:
        """[B, 3, T, H, W] in [-1, 1] -> normalised latents [B, C, F, h, w]."""
        kind = next(self.vae.parameters()).dtype
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.vae.encode(video_BCTHW.to(self.device, kind)).float()

    @torch.no_grad()
    def motion_after(self, z_BCFHW: Tensor, spec: StreamSpec) -> Tensor:
        """Latents of a chunk to the motion latents that the next one continues.

        All nine are decoded, the last five frames are clamped and encoded again (training
        specification 2.7): no shortcut gives the same latents.
        """
        last = self.decode(z_BCFHW)[:, :, -spec.motion_frames :].clamp(-1, 1).contiguous()
        return self.video(last)

    @torch.no_grad()
    def decode(self, z_BCFHW: Tensor) -> Tensor:
        """Normalised latents [B, C, F, h, w] -> [B, 3, T, H, W], about [-1, 1]."""
        kind = next(self.vae.parameters()).dtype
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.vae.decode(z_BCFHW.to(self.device, kind)).float()

    @torch.no_grad()
    def image(self, image_BCHW: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] -> tokens [B, M, D]."""
        tokens_BMD: Tensor = self.clip(
            image_BCHW.to(self.device, next(self.clip.parameters()).dtype)
        )
        return tokens_BMD.float()

    @torch.no_grad()
    def speech(self, pcm_BS: Tensor, frames: int) -> Tensor:
        """Normalised windows [B, S] -> [B, frames, L, D]."""
        kind = next(self.audio.parameters()).dtype
        waveforms_BS = pcm_BS.to(self.device, kind)
        if self.device.type != "cpu":
            features_BTLD: Tensor = self.audio(waveforms_BS, frames)
            return features_BTLD.float()
        # One by one: a batch of waveforms falls out of a CPU's cache (8 windows together take
        # 2.1 s on two cores, one by one 0.3 s).
        one_by_one = [self.audio(pcm_1S, frames) for pcm_1S in waveforms_BS.split(1)]
        return torch.cat(one_by_one).float()

    def stages(self, dit: DiT, spec: StreamSpec) -> Stages:
        """The chunk loop's, around a transformer as it is now."""
        audio = AudioEncoder(self.audio, spec)
        codec = VideoCodec(self.vae, spec, autocast=torch.bfloat16 if self.bf16 else None)
        return Stages(spec, audio, Denoiser(dit), codec)

    def encoders(self) -> Encoders:
        """The models as the latent cache wants them."""
        name = f"{self.digest}-bf16" if self.bf16 else self.digest
        return Encoders(self.video, self.image, self.speech, name)


def load_frozen(places: Places, device: torch.device, *, bf16: bool = False) -> FrozenModels:
    """The models of roles ``vae``, ``wav2vec2`` and ``clip``; see ``FrozenModels`` for ``bf16``.

    Raises:
        InputError: a role has not been trained yet.
        WeightsError: files that do not fit.
    """
    vae_dir, audio_dir, clip_dir = (places.model_dir(role) for role in ROLES)
    for folder, recipe in zip((vae_dir, audio_dir, clip_dir), ROLES.values(), strict=True):
        if not (folder / WEIGHTS_FILE).exists():
            raise InputError("--weights", folder, f"no finished model; run recipe {recipe}")
    vae = build(
        partial(VideoVAE, vae_weights.load_config(vae_dir)),
        load_state(vae_dir), device=device, source=vae_dir, dtype=torch.float32,
    )  # fmt: skip
    audio = build(
        partial(Wav2Vec2Features, audio_weights.load_config(audio_dir)),
        load_state(audio_dir), device=device, source=audio_dir,
        dtype=torch.bfloat16 if bf16 else torch.float32,
    )  # fmt: skip
    clip = build(
        partial(ClipVision, clip_weights.load_config(clip_dir)),
        load_state(clip_dir), device=device, source=clip_dir, dtype=torch.float32,
    )  # fmt: skip
    names = (WEIGHTS_FILE, "config.json")
    digest = files_digest([f / name for f in (vae_dir, audio_dir, clip_dir) for name in names])
    return FrozenModels(vae, audio, clip, digest, device, bf16)
