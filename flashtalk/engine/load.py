"""Loads a pipeline from a folder of weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

import flashtalk
from flashtalk.engine.audio import AudioEncoder
from flashtalk.engine.codec import VideoCodec
from flashtalk.engine.compiled import (
    check_compiler,
    compile_speech,
    compile_transformer,
    compile_vae,
    compiled_colors,
)
from flashtalk.engine.denoiser import Denoiser
from flashtalk.engine.encoders import ConditionEncoders, park
from flashtalk.engine.inference_form import (
    fix_attention,
    join_projections,
    lay_out_weights,
    to_float8,
)
from flashtalk.engine.pipeline import Architecture, Pipeline
from flashtalk.engine.sampling import Sampling, load_sampling, load_stream_numbers
from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint import CheckpointLayout, build, find_checkpoint, load_state
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
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from flashtalk.ops.attention import Backend, read_backend
from flashtalk.ops.float8 import has_float8
from flashtalk.presets import PRESETS, PUBLISHED, TINY
from flashtalk.streaming import StreamSpec, preset_spec

FLOAT8_DTYPE = "float8"
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    FLOAT8_DTYPE: torch.bfloat16,
}

Convert = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
ModelT = TypeVar("ModelT", bound=nn.Module)


@dataclass(frozen=True)
class Placement:
    """Device, dtype and kernels of a pipeline.

    Args:
        device: of all models.
        dtype: of their weights.
        float8: linear layers of the transformer's blocks are float8 (``ops.float8``).
        compiled: speech encoder, transformer and VAE use torch.compile (``engine.compiled``).
        attention: kernel of the transformer's attention; ``None``: the fastest for each.
    """

    device: torch.device
    dtype: torch.dtype
    float8: bool = False
    compiled: bool = False
    attention: Backend | None = None

    @classmethod
    def choose(
        cls,
        preset: str,
        device: str = "auto",
        dtype: str = "auto",
        *,
        compiled: bool = False,
        attention: str = "auto",
    ) -> Placement:
        """Parses the names of a device and a dtype.

        Args:
            preset: the large one is float32 only on explicit request.
            device: ``auto`` (a GPU if available), or a device name of torch.
            dtype: ``auto`` (bfloat16 on a GPU and for the large preset), float32, bfloat16 or
                float8: bfloat16 with a transformer in float8.
            compiled: whether models use torch.compile.
            attention: ``auto``, or an available kernel (``ops.attention``).

        Raises:
            InputError: an unknown name, a missing device, no compiler, or a GPU that does not
                support float8 or the kernel.
        """
        if compiled:
            check_compiler()
        name = device
        if device == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            place = torch.device(name)
            torch.empty(1, device=place)
        except (RuntimeError, AssertionError, ImportError) as error:
            raise InputError("device", device, "auto, cpu, or a device that is there") from error
        if place.type == "meta":
            raise InputError("device", device, "auto, cpu, or a device that computes")
        kernel = read_backend(attention, place)
        if dtype == "auto":
            half = place.type == "cuda" or preset == PUBLISHED
            chosen = torch.bfloat16 if half else torch.float32
            return cls(place, chosen, compiled=compiled, attention=kernel)
        if dtype not in DTYPES:
            raise InputError("dtype", dtype, f"auto, {', '.join(DTYPES)}")
        float8 = dtype == FLOAT8_DTYPE
        if float8 and place.type != "cpu" and not has_float8(place):
            raise InputError("dtype", dtype, f"a GPU of compute capability 8.9, not {place}")
        return cls(place, DTYPES[dtype], float8, compiled, kernel)


def to_inference_form(dit: DiT, placement: Placement) -> None:
    """Joins, quantizes and compiles as its placement requires, in place."""
    if placement.attention is not None:
        fix_attention(dit, placement.attention)
    if placement.device.type != "cpu" or placement.float8:
        join_projections(dit)
    if placement.float8:
        to_float8(dit)
    if placement.compiled:
        compile_transformer(dit)


def made_codec(vae: VideoVAE, spec: StreamSpec, placement: Placement) -> VideoCodec:
    """Returns a codec with a compiled VAE if its placement requires one."""
    lay_out_weights(vae)
    if not placement.compiled:
        return VideoCodec(vae, spec)
    compile_vae(vae)
    return VideoCodec(vae, spec, compiled_colors())


def shipped_weights() -> Path:
    """Returns the folder of the shipped weights: beside the package or in the working directory.

    Raises:
        InputError: there is none, as in a wheel without its checkout.
    """
    places = [Path(flashtalk.__file__).resolve().parents[1], Path.cwd()]
    for place in places:
        if (found := place / "weights" / TINY).is_dir():
            return found
    raise InputError("weights", "weights/tiny", "not found here or beside the package; name one")


@dataclass(frozen=True)
class Checkpoint:
    """A folder of weights whose sizes fit each other; loads its stages.

    Args:
        preset: ``tiny`` or ``flashtalk-14b``.
        layout: paths of its parts.
        sizes: of its models.
        sampling: sampling settings of these weights.
        placement: device and dtype of its models; speech features are always float32.
        spec: stream spec of these weights.
    """

    preset: str
    layout: CheckpointLayout
    sizes: Architecture
    sampling: Sampling
    placement: Placement
    spec: StreamSpec

    @property
    def accepts_prompt(self) -> bool:
        """Returns whether the transformer attends to text: whether a prompt has an effect."""
        return self.sizes.dit.text_len > 0

    def load_audio(self) -> AudioEncoder:
        """Loads the speech encoder. Raises WeightsError, as the other stages, for tensors that do
        not fit."""
        model = self.load_speech()
        if self.placement.compiled:
            compile_speech(model)
        return AudioEncoder(model, self.spec)

    def load_denoiser(self) -> Denoiser:
        """Loads the transformer."""
        dit = self._model(lambda: DiT(self.sizes.dit), self.layout.dit, dit_weights.convert)
        to_inference_form(dit, self.placement)
        return Denoiser(dit)

    def load_encoders(self, *, parked: bool = False) -> ConditionEncoders:
        """Loads the encoders of portrait and prompt; ``parked`` as in ``ConditionEncoders``."""
        clip, text, device = self.load_clip(), self.load_text(), self.placement.device
        if parked:
            park(clip, device)
            park(text, device)
        return ConditionEncoders(clip, text, self.load_tokenizer(), device, parked=parked)

    def load_codec(self) -> VideoCodec:
        """Loads the video VAE."""
        return made_codec(self.load_vae(), self.spec, self.placement)

    def load_speech(self) -> Wav2Vec2Features:
        """Loads the network of the speech encoder, float32."""
        return self._model(
            lambda: Wav2Vec2Features(self.sizes.audio),
            self.layout.wav2vec2,
            audio_weights.convert_published,
            dtype=torch.float32,
        )

    def load_clip(self) -> ClipVision:
        """Loads the image encoder."""
        return self._model(
            lambda: ClipVision(self.sizes.clip), self.layout.clip, clip_weights.convert_published
        )

    def load_text(self) -> TextEncoder:
        """Loads the text encoder."""
        return self._model(
            lambda: TextEncoder(self.sizes.text), self.layout.umt5, text_weights.convert_published
        )

    def load_tokenizer(self) -> Tokenizer:
        """Loads the tokenizer of the text encoder."""
        return load_tokenizer(self.layout.tokenizer, self.sizes.text.text_len)

    def load_vae(self) -> VideoVAE:
        """Loads the network of the video codec."""
        return self._model(lambda: VideoVAE(self.sizes.vae), self.layout.vae, vae_weights.convert)

    def transformer_state(self) -> Mapping[str, Tensor]:
        """Returns the weights of the transformer, memory-mapped, as in their files."""
        tensors = load_state(self.layout.dit)
        return dit_weights.convert(tensors) if self.layout.kind == "published" else tensors

    def load(self, *, offload_encoders: bool = False) -> Pipeline:
        """Loads all stages, as ``load_pipeline``."""
        return Pipeline(
            name=self.preset,
            spec=self.spec,
            sampling=self.sampling,
            denoiser=self.load_denoiser(),
            codec=self.load_codec(),
            audio=self.load_audio(),
            encoders=self.load_encoders(parked=offload_encoders),
        )

    def _model(
        self,
        factory: Callable[[], ModelT],
        path: Path,
        convert: Convert,
        dtype: torch.dtype | None = None,
    ) -> ModelT:
        tensors = load_state(path)
        return build(
            factory,
            convert(tensors) if self.layout.kind == "published" else tensors,
            device=self.placement.device,
            dtype=dtype or self.placement.dtype,
            source=path,
        )


def open_checkpoint(
    preset: str = TINY,
    weights_dir: Path | str | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    sampling: Sampling | None = None,
    architecture: Architecture | None = None,
    compiled: bool = False,
    attention: str = "auto",
) -> Checkpoint:
    """Finds a folder of weights and reads all of it except the weights.

    Arguments and errors as in ``load_pipeline``.
    """
    if preset not in PRESETS:
        raise InputError("preset", preset, f"one of {', '.join(PRESETS)}")
    if weights_dir is None and preset != TINY:
        raise InputError("weights", "none given", f"{preset} needs the folder of its checkpoint")
    folder = shipped_weights() if weights_dir is None else Path(weights_dir)
    layout = find_checkpoint(folder)
    placement = Placement.choose(preset, device, dtype, compiled=compiled, attention=attention)
    if layout.kind == "own":
        found, chosen = _own_architecture(layout), sampling or load_sampling(folder)
    else:
        found = _published_architecture(layout, architecture or Architecture.flashtalk_14b())
        chosen = sampling or Sampling()
    try:
        spec = found.spec(load_stream_numbers(folder, preset_spec(preset)))
    except InputError as error:
        raise WeightsError(f"{folder}: {error}") from error
    return Checkpoint(preset, layout, found, chosen, placement, spec)


def load_pipeline(
    preset: str = TINY,
    weights_dir: Path | str | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    sampling: Sampling | None = None,
    architecture: Architecture | None = None,
    compiled: bool = False,
    attention: str = "auto",
    offload_encoders: bool = False,
) -> Pipeline:
    """Loads a folder of weights, in the published layout or in this project's own.

    Args:
        preset: ``tiny`` or ``flashtalk-14b``.
        weights_dir: the folder; ``None``: the shipped weights of ``tiny``.
        device, dtype: as in ``Placement.choose``. Speech features are always float32.
        sampling: replaces the folder's ``pipeline.json`` or the published settings.
        architecture: sizes of a published folder with models of other sizes. Transformer and
            speech encoder have theirs in their own ``config.json``.
        compiled: transformer and VAE use torch.compile, at the first call of each size.
        attention: ``auto``, or a kernel for the transformer (``ops.attention``).
        offload_encoders: the encoders of portrait and prompt are on the device only while they
            are used (``engine.encoders``).

    Raises:
        InputError: an unknown preset or device, or a missing folder.
        WeightsError: parts are missing, or tensors do not fit; one message names them all.
    """
    return open_checkpoint(
        preset,
        weights_dir,
        device=device,
        dtype=dtype,
        sampling=sampling,
        architecture=architecture,
        compiled=compiled,
        attention=attention,
    ).load(offload_encoders=offload_encoders)


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
