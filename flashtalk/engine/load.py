"""From a folder of weights to a pipeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import flashtalk
from flashtalk.engine.audio import AudioEncoder
from flashtalk.engine.codec import VideoCodec
from flashtalk.engine.denoiser import Denoiser
from flashtalk.engine.pipeline import Architecture, Pipeline
from flashtalk.engine.sampling import Sampling, load_sampling
from flashtalk.errors import InputError
from flashtalk.models.checkpoint import CheckpointLayout, build, find_checkpoint, load_state
from flashtalk.models.clip import weights as clip_weights
from flashtalk.models.clip.model import ClipVision
from flashtalk.models.dit import weights as dit_weights
from flashtalk.models.dit.model import DiT
from flashtalk.models.umt5 import weights as text_weights
from flashtalk.models.umt5.model import TextEncoder
from flashtalk.models.umt5.text import load_tokenizer
from flashtalk.models.vae import weights as vae_weights
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.wav2vec2 import weights as audio_weights
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from flashtalk.streaming import StreamSpec

TINY, PUBLISHED = "tiny", "flashtalk-14b"
PRESETS = (TINY, PUBLISHED)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

Convert = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Placement:
    """Where a pipeline computes and in which type."""

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def choose(cls, preset: str, device: str = "auto", dtype: str = "auto") -> Placement:
        """Read the names of a device and of a type.

        Args:
            preset: the large one is not held in float32 unless that is asked for.
            device: ``auto`` (a GPU if there is one), or torch's name of a device.
            dtype: ``auto`` (bfloat16 on a GPU and for the large preset), float32 or bfloat16.

        Raises:
            InputError: an unknown name, or a device that is not there.
        """
        name = device
        if device == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            place = torch.device(name)
            torch.empty(1, device=place)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise InputError("device", device, "auto, cpu, or a device that is there") from error
        if dtype == "auto":
            half = place.type == "cuda" or preset == PUBLISHED
            return cls(place, torch.bfloat16 if half else torch.float32)
        if dtype not in DTYPES:
            raise InputError("dtype", dtype, f"auto, {', '.join(DTYPES)}")
        return cls(place, DTYPES[dtype])


def shipped_weights() -> Path:
    """Folder of the weights that come with the project: beside the package, or where one stands.

    Raises:
        InputError: there is none, as in a wheel without its checkout.
    """
    places = [Path(flashtalk.__file__).resolve().parents[1], Path.cwd()]
    for place in places:
        if (found := place / "weights" / TINY).is_dir():
            return found
    raise InputError("weights", "weights/tiny", "not found here or beside the package; name one")


def load_pipeline(
    preset: str = TINY,
    weights_dir: Path | str | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    sampling: Sampling | None = None,
    architecture: Architecture | None = None,
) -> Pipeline:
    """Load a folder of weights, in the published layout or in this project's own.

    Args:
        preset: ``tiny`` or ``flashtalk-14b``.
        weights_dir: the folder; ``None`` finds the shipped ones of ``tiny``.
        device, dtype: see ``Placement.choose``. Speech features are float32 in any case.
        sampling: instead of the folder's ``pipeline.json``, or of the published settings.
        architecture: sizes of a published folder that holds a model of other sizes. Transformer
            and speech encoder say theirs in their own ``config.json``.

    Raises:
        InputError: an unknown preset or device, no folder.
        WeightsError: pieces missing, or tensors that do not fit; one message names them all.
    """
    if preset not in PRESETS:
        raise InputError("preset", preset, f"one of {', '.join(PRESETS)}")
    if weights_dir is None and preset != TINY:
        raise InputError("weights", "none given", f"{preset} needs the folder of its checkpoint")
    folder = shipped_weights() if weights_dir is None else Path(weights_dir)
    layout = find_checkpoint(folder)
    placement = Placement.choose(preset, device, dtype)
    if layout.kind == "own":
        found, chosen = _own_architecture(layout), sampling or load_sampling(folder)
    else:
        found = _published_architecture(layout, architecture or Architecture.flashtalk_14b())
        chosen = sampling or Sampling()
    return _assemble(preset, layout, found, chosen, placement)


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


def _assemble(
    preset: str,
    layout: CheckpointLayout,
    sizes: Architecture,
    sampling: Sampling,
    placement: Placement,
) -> Pipeline:
    published = layout.kind == "published"

    def state(path: Path, convert: Convert) -> Mapping[str, Tensor]:
        tensors = load_state(path)
        return convert(tensors) if published else tensors

    device, dtype = placement.device, placement.dtype
    dit = build(
        lambda: DiT(sizes.dit), state(layout.dit, dit_weights.convert),
        device=device, dtype=dtype, source=layout.dit,
    )  # fmt: skip
    vae = build(
        lambda: VideoVAE(sizes.vae), state(layout.vae, vae_weights.convert),
        device=device, dtype=dtype, source=layout.vae,
    )  # fmt: skip
    audio = build(
        lambda: Wav2Vec2Features(sizes.audio),
        state(layout.wav2vec2, audio_weights.convert_published),
        device=device, dtype=torch.float32, source=layout.wav2vec2,
    )  # fmt: skip
    clip = build(
        lambda: ClipVision(sizes.clip), state(layout.clip, clip_weights.convert_published),
        device=device, dtype=dtype, source=layout.clip,
    )  # fmt: skip
    text = build(
        lambda: TextEncoder(sizes.text), state(layout.umt5, text_weights.convert_published),
        device=device, dtype=dtype, source=layout.umt5,
    )  # fmt: skip
    tokenizer = load_tokenizer(layout.tokenizer, sizes.text.text_len)
    spec = StreamSpec()
    return Pipeline(
        name=preset,
        spec=spec,
        sampling=sampling,
        audio=AudioEncoder(audio, spec, sizes.dit.audio_window),
        denoiser=Denoiser(dit, clip, text, tokenizer),
        codec=VideoCodec(vae, spec),
    )
