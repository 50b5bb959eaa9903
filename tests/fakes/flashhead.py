"""A FlashHead folder in the published layout, with random weights at small sizes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from flashtalk.engine import FlashHeadArchitecture, Pipeline, Sampling
from flashtalk.engine.random_flashhead import random_flashhead
from flashtalk.engine.sampling import save_sampling
from flashtalk.models.checkpoint import save_config
from flashtalk.models.checkpoint.flashhead_layout import (
    LTX_VAE,
    NETWORK_FOLDERS,
    SPEECH_FOLDERS,
    WAN_VAE,
    Variant,
)
from flashtalk.models.flashhead import FlashHead, FlashHeadConfig
from flashtalk.models.flashhead import weights as network_weights
from flashtalk.models.ltx_vae import LtxVae, LtxVaeConfig
from flashtalk.models.ltx_vae import weights as ltx_weights
from flashtalk.models.wav2vec2 import Wav2Vec2Features
from flashtalk.models.wav2vec2 import weights as audio_weights
from flashtalk.presets import FLASHHEAD, FLASHHEAD_LITE
from flashtalk.streaming import preset_spec
from tests import seeds
from tests.fakes.transformers_models import wav2vec2_config
from tests.fakes.weights import MICRO

PRESETS: dict[Variant, str] = {"pro": FLASHHEAD, "lite": FLASHHEAD_LITE}
MICRO_FLASHHEAD_SAMPLING = Sampling(steps=2, height_px=64, width_px=64, prompt="")


def _network(channels: int, patch: int, stride: tuple[int, int, int]) -> FlashHeadConfig:
    return FlashHeadConfig(
        dim=32,
        ffn_dim=32,
        num_heads=2,
        num_layers=2,
        in_dim=2 * channels,
        out_dim=channels,
        patch_size=(1, patch, patch),
        vae_stride=stride,
        freq_dim=32,
        audio_blocks=1,
        audio_channels=16,
        intermediate_dim=16,
        context_tokens=2,
    )


MICRO_FLASHHEAD: dict[Variant, FlashHeadArchitecture] = {
    "pro": FlashHeadArchitecture(_network(16, 2, (4, 8, 8)), MICRO.vae, MICRO.audio),
    "lite": FlashHeadArchitecture(
        _network(12, 1, (8, 32, 32)),
        LtxVaeConfig(
            block_out_channels=(8, 8, 8, 16), layers_per_block=(1, 1, 1, 1, 1), latent_channels=12
        ),
        MICRO.audio,
    ),
}


def micro_flashhead(variant: Variant, sampling: Sampling = MICRO_FLASHHEAD_SAMPLING) -> Pipeline:
    """A pipeline of the smallest sizes."""
    sizes, numbers = MICRO_FLASHHEAD[variant], preset_spec(PRESETS[variant])
    return random_flashhead(sizes, numbers, sampling=sampling, seed=seeds.offset())


def write_flashhead(pipeline: Pipeline, folder: Path, variant: Variant) -> Path:
    """Writes one variant; a folder may hold both.

    The files have the tensors that are there and never read. What the published folder cannot say
    (other sizes of the Wan VAE, other settings) is in files beside them.
    """
    network, vae = pipeline.denoiser.network, pipeline.codec.vae
    assert isinstance(network, FlashHead)
    place = folder / NETWORK_FOLDERS[variant]
    place.mkdir(parents=True)
    save_config(network.config, place)
    unused = {name: torch.zeros(2) for name in network_weights.UNUSED}
    _save(network.state_dict() | unused, place / "diffusion_pytorch_model.safetensors")
    if isinstance(vae, LtxVae):
        (folder / LTX_VAE).mkdir()
        save_config(vae.config, folder / LTX_VAE)
        _save(vae.state_dict(), folder / LTX_VAE / ltx_weights.PUBLISHED_FILE)
    else:
        (folder / WAN_VAE).parent.mkdir()
        torch.save(vae.state_dict(), folder / WAN_VAE)
        save_config(vae.config, (folder / WAN_VAE).parent)
    if not (speech := folder / SPEECH_FOLDERS[0]).is_dir():
        write_recogniser(speech, pipeline.audio.model)
    save_sampling(dataclasses.replace(pipeline.sampling), folder)
    return folder


def write_recogniser(folder: Path, model: Wav2Vec2Features) -> None:
    """A speech encoder as the checkpoint of a recogniser (``wav2vec2-base-960h``)."""
    folder.mkdir(parents=True)
    values = wav2vec2_config(model.config).to_dict() | {"architectures": ["Wav2Vec2ForCTC"]}
    (folder / "config.json").write_text(json.dumps(values))
    state = audio_weights.to_published(model.state_dict())
    head = {
        "lm_head.weight": torch.zeros(32, model.config.hidden_size),
        "lm_head.bias": torch.zeros(32),
    }
    _save(state | head, folder / audio_weights.PUBLISHED_FILES[0])


def _save(state: dict[str, Tensor], path: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
