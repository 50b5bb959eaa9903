"""The pipeline that a table measures: a picklable value for child processes, and its models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from flashtalk.cli.limits import check_preset, check_weights
from flashtalk.cli.overlay_option import with_overlays
from flashtalk.cli.peaks import FP8
from flashtalk.engine import Architecture, Pipeline, Sampling, load_pipeline
from flashtalk.engine.placement import Placement
from flashtalk.engine.random_preset import random_preset
from flashtalk.errors import InputError
from flashtalk.ops.float8 import has_float8
from flashtalk.overlays import Overlay
from flashtalk.presets import TINY

PRECISIONS = {"auto": "auto", "fp32": "float32", "bf16": "bfloat16", "fp8": FP8}


@dataclass(frozen=True)
class PipelineChoice:
    """What to load, and how to run it.

    Args:
        preset: a name of the engine's.
        weights: their folder; ``None``: the shipped one.
        random: random weights instead, drawn on the device; random tokens stand in for the text
            and image encoders.
        device: torch's name of it, or ``auto``.
        precision: a value of ``PRECISIONS``.
        compiled: models use torch.compile.
        architecture: sizes that replace the preset's, for random weights.
        sampling: replaces the weights' own.
        overlays: files merged into the weights.
        emulated: FP8 also on a device without it: the same numbers, but meaningless times.
    """

    preset: str = TINY
    weights: Path | None = None
    random: bool = False
    device: str = "auto"
    precision: str = "auto"
    compiled: bool = False
    architecture: Architecture | None = None
    sampling: Sampling | None = None
    emulated: bool = False
    overlays: tuple[Overlay, ...] = ()

    def check(self) -> None:
        """Raises InputError for impossible combinations, before anything is built."""
        check_preset(self.preset)
        if not self.random:
            check_weights(self.preset, self.weights)
        self.placement()

    def placement(self) -> Placement:
        """Returns device and dtype of the models. Raises InputError for an unsuitable device."""
        placement = Placement.choose(
            self.preset, self.device, self.precision, compiled=self.compiled
        )
        if placement.float8 and not (self.emulated or has_float8(placement.device)):
            needs = "a CUDA device of compute capability 8.9 or more"
            raise InputError("precision", "fp8", f"{needs}, not {placement.device}")
        return placement

    @property
    def precision_name(self) -> str:
        """Returns float32, bfloat16 or float8, with ``auto`` resolved."""
        if self.precision == FP8:
            return FP8
        return str(self.placement().dtype).removeprefix("torch.")

    @property
    def weights_name(self) -> str:
        """Returns its description for reports."""
        if self.random:
            return "random"
        folder = "shipped" if self.weights is None else self.weights.name
        return with_overlays(folder, self.overlays)

    def on(self, device: str) -> PipelineChoice:
        """Returns the same choice on another device."""
        return replace(self, device=device)

    def build(self) -> Pipeline:
        """Loads or draws the pipeline.

        Raises:
            InputError, WeightsError: as ``load_pipeline`` of the engine.
        """
        self.check()
        if not self.random:
            pipeline = load_pipeline(
                self.preset,
                self.weights,
                device=self.device,
                dtype=self.precision,
                sampling=self.sampling,
                compiled=self.compiled,
                overlays=self.overlays,
            )
        else:
            pipeline = random_preset(
                self.preset,
                architecture=self.architecture,
                sampling=self.sampling,
                device=self.device,
                dtype=self.precision_name,
                compiled=self.compiled,
                encoders=False,
                on_device=True,
            )
        return pipeline
