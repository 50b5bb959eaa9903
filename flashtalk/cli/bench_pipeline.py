"""Which pipeline a table measures: a value that child processes can be given, and its models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from flashtalk.cli.limits import check_preset, check_weights
from flashtalk.cli.peaks import FP8
from flashtalk.engine import Architecture, Pipeline, Sampling, load_pipeline, random_pipeline
from flashtalk.engine.load import Placement
from flashtalk.errors import InputError
from flashtalk.ops.float8 import has_float8
from flashtalk.presets import TINY
from flashtalk.streaming import preset_spec

PRECISIONS = {"auto": "auto", "fp32": "float32", "bf16": "bfloat16", "fp8": FP8}
_ARCHITECTURES = {"tiny": Architecture.tiny, "flashtalk-14b": Architecture.flashtalk_14b}


@dataclass(frozen=True)
class PipelineChoice:
    """What is loaded, and how it computes.

    Args:
        preset: a name of the engine's.
        weights: their folder; ``None`` is the shipped one.
        random: random weights instead, drawn on the device; random tokens stand in for the text
            and image encoders.
        device: torch's name of it, or ``auto``.
        precision: a value of ``PRECISIONS``.
        compiled: models go through torch.compile.
        architecture: other sizes than the preset's, for random weights.
        sampling: instead of the weights' own.
        emulated: FP8 also on a device that has none: the same numbers, and times that say nothing.
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

    def check(self) -> None:
        """Raises InputError for what can be seen to be impossible before anything is built."""
        check_preset(self.preset)
        if not self.random:
            check_weights(self.preset, self.weights)
        self.placement()

    def placement(self) -> Placement:
        """Device and type of the models. Raises InputError for a device that cannot."""
        placement = Placement.choose(
            self.preset, self.device, self.precision, compiled=self.compiled
        )
        if placement.float8 and not (self.emulated or has_float8(placement.device)):
            needs = "a CUDA device of compute capability 8.9 or more"
            raise InputError("precision", "fp8", f"{needs}, not {placement.device}")
        return placement

    @property
    def precision_name(self) -> str:
        """float32, bfloat16 or float8, ``auto`` resolved."""
        if self.precision == FP8:
            return FP8
        return str(self.placement().dtype).removeprefix("torch.")

    @property
    def weights_name(self) -> str:
        """For reports."""
        if self.random:
            return "random"
        return "shipped" if self.weights is None else self.weights.name

    def on(self, device: str) -> PipelineChoice:
        """The same somewhere else."""
        return replace(self, device=device)

    def build(self) -> Pipeline:
        """Load or draw it.

        Raises:
            InputError, WeightsError: as the engine's ``load_pipeline``.
        """
        self.check()
        if not self.random:
            pipeline = load_pipeline(
                self.preset, self.weights, device=self.device, dtype=self.precision,
                sampling=self.sampling, compiled=self.compiled,
            )  # fmt: skip
        else:
            pipeline = random_pipeline(
                self.architecture or _ARCHITECTURES[self.preset](),
                numbers=preset_spec(self.preset),
                sampling=self.sampling or (Sampling() if self.preset != TINY else None),
                device=self.device,
                dtype=self.precision_name,
                compiled=self.compiled,
                encoders=False,
                on_device=True,
            )
        return pipeline
