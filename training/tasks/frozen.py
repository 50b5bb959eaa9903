"""The finished models that Stage 1 stands on: frozen, loaded from the weights directory.

Legend: B batch, C colour or latent channels, T frames, H W pixels, F h w latent axes, M image
tokens, D width, S samples, L layers.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.clip.config import ClipConfig
from flashtalk.models.clip.model import ClipVision
from flashtalk.models.vae.config import VAEConfig
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.wav2vec2.config import AudioConfig
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from training.data.stage1_cache import Encoders, files_digest
from training.places import Places

ModelT = TypeVar("ModelT", bound=nn.Module)
ROLES = {"vae": "tiny_vae", "audio": "tiny_audio", "clip": "tiny_identity"}


@dataclass(frozen=True)
class FrozenModels:
    """VAE, speech encoder and image encoder, without gradients."""

    vae: VideoVAE
    audio: Wav2Vec2Features
    clip: ClipVision
    digest: str
    device: torch.device

    @torch.no_grad()
    def video(self, video_BCTHW: Tensor) -> Tensor:
        """[B, 3, T, H, W] in [-1, 1] -> normalised latents [B, C, F, h, w]."""
        return self.vae.encode(video_BCTHW.to(self.device))

    @torch.no_grad()
    def image(self, image_BCHW: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] -> tokens [B, M, D]."""
        tokens_BMD: Tensor = self.clip(image_BCHW.to(self.device))
        return tokens_BMD

    @torch.no_grad()
    def speech(self, pcm_BS: Tensor, frames: int) -> Tensor:
        """Normalised windows [B, S] -> [B, frames, L, D]."""
        if self.device.type != "cpu":
            features_BTLD: Tensor = self.audio(pcm_BS.to(self.device), frames)
            return features_BTLD
        # One by one: a batch of waveforms falls out of a CPU's cache (8 windows together take
        # 2.1 s on two cores, one by one 0.3 s).
        return torch.cat([self.audio(pcm_1S, frames) for pcm_1S in pcm_BS.split(1)])

    def encoders(self) -> Encoders:
        """The models as the latent cache wants them."""
        return Encoders(self.video, self.image, self.speech, self.digest)


def load_frozen(places: Places, device: torch.device) -> FrozenModels:
    """The models of roles ``vae``, ``audio`` and ``clip``.

    Raises:
        InputError: a role has not been trained yet.
        WeightsError: files that do not fit.
    """
    folders = {role: places.model_dir(role) for role in ROLES}
    for role, folder in folders.items():
        if not (folder / "model.safetensors").exists():
            raise InputError("--weights", folder, f"no finished model; run recipe {ROLES[role]}")
    files = [f / name for f in folders.values() for name in ("model.safetensors", "config.json")]
    vae = VideoVAE(VAEConfig.from_dict(_config(folders["vae"])))
    audio = Wav2Vec2Features(AudioConfig.from_dict(_config(folders["audio"])))
    clip = ClipVision(ClipConfig.from_dict(_config(folders["clip"])))
    for role, model in (("vae", vae), ("audio", audio), ("clip", clip)):
        _fill(model, folders[role])
        model.to(device).eval().requires_grad_(False)
    return FrozenModels(vae, audio, clip, files_digest(files), device)


def _config(folder: Path) -> dict[str, object]:
    values: dict[str, object] = json.loads((folder / "config.json").read_text())
    return values


def _fill(model: nn.Module, folder: Path) -> None:
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except RuntimeError as error:
        raise WeightsError(f"{folder}: {error}") from error
