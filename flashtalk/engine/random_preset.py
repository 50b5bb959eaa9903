"""Random weights of a preset's sizes, for speed measurements."""

from __future__ import annotations

from flashtalk.engine.flashhead_architecture import FLASHHEAD_ARCHITECTURES
from flashtalk.engine.pipeline import Architecture, Pipeline
from flashtalk.engine.random_flashhead import random_flashhead
from flashtalk.engine.random_weights import random_pipeline
from flashtalk.engine.sampling import Sampling
from flashtalk.presets import PUBLISHED, TINY
from flashtalk.streaming import preset_spec

_ARCHITECTURES = {TINY: Architecture.tiny, PUBLISHED: Architecture.flashtalk_14b}


def random_preset(
    preset: str,
    *,
    architecture: Architecture | None = None,
    sampling: Sampling | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    encoders: bool = True,
    on_device: bool | None = None,
    compiled: bool = False,
    attention: str = "auto",
) -> Pipeline:
    """Returns a pipeline of a preset's sizes with random weights.

    Args:
        preset: its name.
        architecture: other sizes for ``tiny`` or ``flashtalk-14b``.
        sampling: ``None``: the published settings (of ``tiny``: 64x64 without guidance).
        device, dtype, encoders, on_device, compiled, attention: as in ``random_pipeline``.

    Raises:
        InputError: an unknown device or dtype.
    """
    numbers = preset_spec(preset)
    if preset in FLASHHEAD_ARCHITECTURES:
        return random_flashhead(
            FLASHHEAD_ARCHITECTURES[preset](),
            numbers,
            sampling=sampling,
            device=device,
            dtype=dtype,
            on_device=on_device,
            compiled=compiled,
            attention=attention,
        )
    return random_pipeline(
        architecture or _ARCHITECTURES[preset](),
        numbers=numbers,
        sampling=sampling or (None if preset == TINY else Sampling()),
        device=device,
        dtype=dtype,
        encoders=encoders,
        on_device=on_device,
        compiled=compiled,
        attention=attention,
    )
