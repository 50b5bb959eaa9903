"""A folder of weights before its models are loaded: the part that all presets share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from flashtalk.engine.audio import AudioEncoder
from flashtalk.engine.codec import VideoCodec
from flashtalk.engine.compiled import compile_speech
from flashtalk.engine.denoiser import Denoiser
from flashtalk.engine.encoders import Encoders
from flashtalk.engine.pipeline import Pipeline
from flashtalk.engine.placement import Placement
from flashtalk.engine.sampling import Sampling
from flashtalk.models.checkpoint import Merged, build, load_state, merge, read_overlay
from flashtalk.models.wav2vec2.config import AudioConfig
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from flashtalk.overlays import Overlay
from flashtalk.streaming import StreamSpec

Convert = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
ModelT = TypeVar("ModelT", bound=nn.Module)


class FeatureShape(NamedTuple):
    """Rows, layers and width of a chunk's speech features."""

    rows: int
    layers: int
    width: int


class TokenShapes(NamedTuple):
    """Number and width of image tokens, and maximum number and width of text tokens."""

    image: int
    image_width: int
    max_text: int
    text_width: int


@dataclass(frozen=True)
class Checkpoint(ABC):
    """A folder of weights whose sizes fit each other; loads its stages.

    Loading raises WeightsError for tensors that do not fit.

    Args:
        preset: its name.
        sampling: sampling settings of these weights.
        placement: device and dtype of its models; speech features are always float32.
        spec: stream spec of these weights.
        overlays: files merged into the network's weights, in this order.
    """

    preset: str
    sampling: Sampling
    placement: Placement
    spec: StreamSpec
    overlays: tuple[Overlay, ...] = field(default=(), kw_only=True)

    @property
    @abstractmethod
    def parts(self) -> Mapping[str, Path]:
        """Returns the file or folder of each model, and ``pipeline.json`` if there is one."""

    @property
    @abstractmethod
    def network_path(self) -> Path:
        """Returns the network's file or folder, one of ``parts``."""

    @abstractmethod
    def convert_network(self, published: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Converts a network's tensors in a file to our names, without unused ones."""

    @abstractmethod
    def bare_network(self) -> nn.Module:
        """Returns the network on the meta device, without weights."""

    @property
    def pieces(self) -> Mapping[str, Path]:
        """Returns all that decides over frames: ``parts``, and each overlay as a file.

        Names of overlays contain their position and their strength: digests differ with both.
        """
        overlays = {
            f"overlay {position} at {overlay.strength!r}": overlay.path
            for position, overlay in enumerate(self.overlays, 1)
        }
        return {**self.parts, **overlays}

    def merged(self) -> Merged:
        """Merges the overlays into the network's weights; errors as ``merge``."""
        given = [(each, self.convert_network(read_overlay(each))) for each in self.overlays]
        return merge(self.convert_network(load_state(self.network_path)), given)

    def transformer_state(self) -> Mapping[str, Tensor]:
        """Returns the network's weights with the overlays; memory-mapped, or computed at access."""
        return self.merged().state

    @property
    @abstractmethod
    def speech(self) -> AudioConfig:
        """Returns the sizes of the speech encoder."""

    @property
    @abstractmethod
    def tokens(self) -> TokenShapes | None:
        """Returns the shapes of image and text tokens; ``None``: the network takes neither."""

    @property
    def accepts_prompt(self) -> bool:
        """Returns whether a prompt has an effect: whether the network attends to text."""
        return self.tokens is not None

    @abstractmethod
    def load_denoiser(self) -> Denoiser:
        """Loads the network."""

    @abstractmethod
    def load_encoders(self, *, parked: bool = False) -> Encoders:
        """Loads the encoders of portrait and prompt; ``parked`` as in ``ConditionEncoders``."""

    @abstractmethod
    def load_codec(self) -> VideoCodec:
        """Loads the video VAE."""

    @abstractmethod
    def load_speech(self) -> Wav2Vec2Features:
        """Loads the network of the speech encoder, float32."""

    @property
    def features(self) -> FeatureShape:
        """Returns the shape of the speech features of a chunk."""
        speech = self.speech
        return FeatureShape(self.spec.feature_rows, speech.num_hidden_layers, speech.hidden_size)

    @property
    def measures_loudness(self) -> bool:
        """Whether speech is brought to -23 LUFS before it is encoded."""
        return True

    def load_audio(self) -> AudioEncoder:
        """Loads the speech encoder."""
        model = self.load_speech()
        if self.placement.compiled:
            compile_speech(model)
        return AudioEncoder(model, self.spec, loudness=self.measures_loudness)

    def load(self, *, offload_encoders: bool = False) -> Pipeline:
        """Loads all stages, as ``load_pipeline``."""
        return Pipeline(
            spec=self.spec,
            audio=self.load_audio(),
            denoiser=self.load_denoiser(),
            codec=self.load_codec(),
            name=self.preset,
            sampling=self.sampling,
            encoders=self.load_encoders(parked=offload_encoders),
        )

    def _build(
        self,
        factory: Callable[[], ModelT],
        path: Path,
        convert: Convert,
        dtype: torch.dtype | None = None,
    ) -> ModelT:
        """Builds a model from a file or folder, strict about names and shapes."""
        return self._built(factory, convert(load_state(path)), path, dtype)

    def _built(
        self,
        factory: Callable[[], ModelT],
        state: Mapping[str, Tensor],
        source: Path,
        dtype: torch.dtype | None = None,
    ) -> ModelT:
        return build(
            factory,
            state,
            device=self.placement.device,
            dtype=dtype or self.placement.dtype,
            source=source,
        )
