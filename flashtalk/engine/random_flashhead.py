"""FlashHead with random weights, for tests and speed measurements."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from flashtalk.engine.audio import AudioEncoder
from flashtalk.engine.codec import AnyVAE, made_codec
from flashtalk.engine.device_weights import drawn
from flashtalk.engine.encoders import NoEncoders
from flashtalk.engine.flashhead_architecture import PUBLISHED_SAMPLING, FlashHeadArchitecture
from flashtalk.engine.flashhead_denoiser import FlashHeadDenoiser
from flashtalk.engine.pipeline import Pipeline
from flashtalk.engine.placement import Placement, to_inference_form
from flashtalk.engine.sampling import Sampling
from flashtalk.models.flashhead.model import FlashHead
from flashtalk.models.ltx_vae.config import LtxVaeConfig
from flashtalk.models.ltx_vae.model import LtxVae
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from flashtalk.streaming import StreamSpec

_HEAD_STD = 0.02

ModelT = TypeVar("ModelT", bound=nn.Module)


def random_flashhead(
    architecture: FlashHeadArchitecture,
    numbers: StreamSpec,
    *,
    sampling: Sampling | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    on_device: bool | None = None,
    compiled: bool = False,
    attention: str = "auto",
) -> Pipeline:
    """Returns all models with initial weights; the network's head is small instead of zero.

    Args:
        architecture: sizes.
        numbers: frames and samples of a chunk.
        sampling: ``None``: the published settings.
        seed, device, dtype, on_device, compiled, attention: as in ``random_pipeline``.

    Raises:
        InputError: an unknown device or dtype.
    """
    placement = Placement.choose("random", device, dtype, compiled=compiled, attention=attention)
    there = placement.device.type != "cpu" if on_device is None else on_device

    def made(factory: Callable[[], ModelT], half: bool = True) -> ModelT:
        kind = placement.dtype if half else torch.float32
        if there:
            return drawn(factory, placement.device, kind, seed)
        return factory().eval().requires_grad_(False).to(placement.device, kind)

    def vae() -> AnyVAE:
        config = architecture.vae
        return LtxVae(config) if isinstance(config, LtxVaeConfig) else VideoVAE(config)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = made(lambda: FlashHead(architecture.network))
        if not there:
            nn.init.normal_(network.head.head.weight, std=_HEAD_STD)
        to_inference_form(network, placement)
        codec_vae: AnyVAE = made(vae)
        audio = made(lambda: Wav2Vec2Features(architecture.audio), half=False)
    spec = architecture.spec(numbers)
    return Pipeline(
        spec=spec,
        audio=AudioEncoder(audio, spec, loudness=False),
        denoiser=FlashHeadDenoiser(network),
        codec=made_codec(codec_vae, spec, compiled=placement.compiled, still=True),
        name="random",
        sampling=sampling or PUBLISHED_SAMPLING,
        encoders=NoEncoders("random"),
    )
