"""The computation and memory traffic of each stage of a chunk, counted on meta tensors.

Legend: B batch, C channels, F latent frames, T video frames, H W pixels or latent size, W window,
L layers, D width, N samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from flashtalk.engine.work import Work, count_work
from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.dit.model import DiT
from flashtalk.models.flashhead.config import FlashHeadConfig
from flashtalk.models.flashhead.model import FlashHead
from flashtalk.models.ltx_vae.config import LtxVaeConfig
from flashtalk.models.ltx_vae.model import LtxVae
from flashtalk.models.vae.config import VAEConfig
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.wav2vec2.config import AudioConfig
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from flashtalk.streaming import StreamSpec

ModelT = TypeVar("ModelT", bound=nn.Module)
_RGB = 3


def dit_step_work(
    config: DiTConfig | FlashHeadConfig,
    spec: StreamSpec,
    size_hw: tuple[int, int],
    dtype: torch.dtype,
    batch: int = 1,
) -> Work:
    """One evaluation of the transformer; keys and values of text, portrait and speech are given."""
    shape = (batch, config.out_dim, spec.latent_frames, *spec.latent_size(*size_hw))
    x_BCFHW, y_BCFHW = _shape(*shape), _shape(batch, config.cond_dim, *shape[2:])
    windows_BTWLD, t_B = _windows(config, spec, batch, dtype), _shape(batch)
    if isinstance(config, FlashHeadConfig):
        network = _shapes_of(lambda: FlashHead(config), dtype)
        with torch.no_grad():
            speech = network.encode_audio(windows_BTWLD)
        return count_work(lambda: network(x_BCFHW, t_B, y_BCFHW, speech))
    dit = _shapes_of(lambda: DiT(config), dtype)
    with torch.no_grad():
        context = dit.encode_context(
            _shape(batch, config.clip_tokens, config.clip_dim, dtype=dtype),
            _shape(batch, config.text_len, config.text_dim, dtype=dtype),
        )
        audio = dit.encode_audio(windows_BTWLD)
    return count_work(lambda: dit(x_BCFHW, t_B, y_BCFHW, context, audio))


def dit_speech_work(
    config: DiTConfig | FlashHeadConfig, spec: StreamSpec, dtype: torch.dtype, batch: int = 1
) -> Work:
    """Keys and values of a chunk's speech in every layer, once per chunk."""
    windows_BTWLD = _windows(config, spec, batch, dtype)
    if isinstance(config, FlashHeadConfig):
        network = _shapes_of(lambda: FlashHead(config), dtype)
        return count_work(lambda: network.encode_audio(windows_BTWLD))
    dit = _shapes_of(lambda: DiT(config), dtype)
    return count_work(lambda: dit.encode_audio(windows_BTWLD))


def decode_work(
    config: VAEConfig | LtxVaeConfig, spec: StreamSpec, size_hw: tuple[int, int], dtype: torch.dtype
) -> Work:
    """Decodes a chunk's latents to its 33 frames."""
    vae = _vae(config, dtype)
    cells = spec.latent_size(*size_hw)
    z_BCFHW = _shape(1, config.z_channels, spec.latent_frames, *cells, dtype=dtype)
    return count_work(lambda: vae.decode(z_BCFHW))


def encode_work(
    config: VAEConfig | LtxVaeConfig, spec: StreamSpec, size_hw: tuple[int, int], dtype: torch.dtype
) -> Work:
    """Encodes the motion frames."""
    vae = _vae(config, dtype)
    video_BCTHW = _shape(1, _RGB, spec.motion_frames, *size_hw, dtype=dtype)
    return count_work(lambda: vae.encode(video_BCTHW))


def speech_work(config: AudioConfig, spec: StreamSpec) -> Work:
    """Features of the newest 8 s of sound, always float32."""
    model = _shapes_of(lambda: Wav2Vec2Features(config), torch.float32)
    pcm_BN = _shape(1, spec.window_samples)
    return count_work(lambda: model(pcm_BN, spec.window_s * spec.fps))


def frames_work(spec: StreamSpec, size_hw: tuple[int, int]) -> Work:
    """Any operation that reads a chunk's new frames as float32 and writes them again."""
    values = spec.new_frames * _RGB * math.prod(size_hw)
    return Work(activation_bytes=2 * values * torch.float32.itemsize)


def _vae(config: VAEConfig | LtxVaeConfig, dtype: torch.dtype) -> VideoVAE | LtxVae:
    if isinstance(config, LtxVaeConfig):
        return _shapes_of(lambda: LtxVae(config), dtype)
    return _shapes_of(lambda: VideoVAE(config), dtype)


def _windows(
    config: DiTConfig | FlashHeadConfig, spec: StreamSpec, batch: int, dtype: torch.dtype
) -> Tensor:
    frames = spec.chunk_frames
    return _shape(
        batch, frames, config.audio_window, config.audio_blocks, config.audio_channels, dtype=dtype
    )


def _shape(*sizes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(sizes, dtype=dtype, device="meta")


def _shapes_of(factory: Callable[[], ModelT], dtype: torch.dtype) -> ModelT:
    with torch.device("meta"):
        model = factory()
    return model.to(dtype).eval().requires_grad_(False)
