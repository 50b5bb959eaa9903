"""A pipeline with random weights, for tests and speed measurements."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch import nn

from flashtalk.engine.audio import AudioEncoder
from flashtalk.engine.codec import made_codec
from flashtalk.engine.denoiser import DiTDenoiser
from flashtalk.engine.device_weights import StandInTokens, drawn
from flashtalk.engine.encoders import ConditionEncoders
from flashtalk.engine.pipeline import Architecture, FlashTalkPipeline
from flashtalk.engine.placement import Placement, to_inference_form
from flashtalk.engine.sampling import Sampling
from flashtalk.errors import InputError
from flashtalk.models.clip.model import ClipVision
from flashtalk.models.dit.model import DiT
from flashtalk.models.umt5.model import TextEncoder
from flashtalk.models.umt5.text import EOS_ID, Tokenizer
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from flashtalk.presets import TINY
from flashtalk.streaming import StreamSpec, preset_spec

_FIRST_BYTE_ID = EOS_ID + 1
_BYTES = 256
_HEAD_STD = 0.02

ModelT = TypeVar("ModelT", bound=nn.Module)


def byte_ids(text: str) -> list[int]:
    """A tokenizer without a file: one token per byte, then the end token."""
    return [*(_FIRST_BYTE_ID + byte for byte in text.encode()), EOS_ID]


def random_pipeline(
    architecture: Architecture | None = None,
    *,
    numbers: StreamSpec | None = None,
    sampling: Sampling | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    encoders: bool = True,
    on_device: bool | None = None,
    compiled: bool = False,
    attention: str = "auto",
) -> FlashTalkPipeline:
    """Returns all models with initial weights; the transformer's head is small instead of zero.

    Args:
        architecture: sizes; ``None``: ``tiny``.
        numbers: frames and samples of a chunk (``Architecture.spec``); ``None``: those of ``tiny``.
        sampling: ``None``: 64x64 without guidance.
        seed: of the weights; the caller's random state is not changed.
        device, dtype: as in ``Placement.choose``.
        encoders: False omits the text and image encoders; random tokens replace their results for
            every portrait and prompt (``device_weights.StandInTokens``).
        on_device: draws the weights on their device (``device_weights.drawn``), without a copy on
            the host; ``None``: True except on a CPU.
        compiled: transformer and VAE use torch.compile.
        attention: as in ``Placement.choose``.

    Raises:
        InputError: a text vocabulary too small for bytes, or an unknown device or dtype.
    """
    sizes = architecture or Architecture.tiny()
    if sizes.text.vocab < _FIRST_BYTE_ID + _BYTES:
        raise InputError("vocab", sizes.text.vocab, f"at least {_FIRST_BYTE_ID + _BYTES}")
    placement = Placement.choose("random", device, dtype, compiled=compiled, attention=attention)

    there = placement.device.type != "cpu" if on_device is None else on_device

    def made(factory: Callable[[], ModelT], half: bool = True) -> ModelT:
        if there:
            kind = placement.dtype if half else torch.float32
            return drawn(factory, placement.device, kind, seed)
        model = factory().eval().requires_grad_(False)
        return model.to(placement.device, placement.dtype if half else torch.float32)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        dit = made(lambda: DiT(sizes.dit))
        if not there:
            nn.init.normal_(dit.head.head.weight, std=_HEAD_STD)
        to_inference_form(dit, placement)
        vae = made(lambda: VideoVAE(sizes.vae))
        audio = made(lambda: Wav2Vec2Features(sizes.audio), half=False)
        if encoders:
            clip = made(lambda: ClipVision(sizes.clip))
            text = made(lambda: TextEncoder(sizes.text))
        else:
            clip, text = _stand_ins(sizes, placement, seed)
    spec = sizes.spec(numbers or preset_spec(TINY))
    return FlashTalkPipeline(
        name="random",
        spec=spec,
        sampling=sampling or Sampling(height_px=64, width_px=64),
        audio=AudioEncoder(audio, spec),
        denoiser=DiTDenoiser(dit),
        encoders=ConditionEncoders(
            clip, text, Tokenizer(byte_ids, sizes.text.text_len), placement.device
        ),
        codec=made_codec(vae, spec, compiled=placement.compiled),
    )


def _stand_ins(
    sizes: Architecture, placement: Placement, seed: int
) -> tuple[ClipVision, TextEncoder]:
    """Modules with the encoders' call signature."""
    place = placement.device, placement.dtype, seed
    clip = StandInTokens(sizes.dit.clip_tokens, sizes.dit.clip_dim, *place)
    text = StandInTokens(sizes.dit.text_len, sizes.dit.text_dim, *place)
    return cast(ClipVision, clip), cast(TextEncoder, text)
