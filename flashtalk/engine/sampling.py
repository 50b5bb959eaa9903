"""Sampling settings of a set of weights: steps, guidance, size; a value, stored with the weights.

The same file may define the chunk geometry under ``stream``; the default is that of the preset.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flashtalk.errors import InputError, WeightsError
from flashtalk.streaming import StreamSpec
from flashtalk.validation import JsonConfig

SAMPLING_FILE = "pipeline.json"
SAMPLERS = ("renoise", "euler")
_STREAM = "stream"
_STREAM_FIELDS = ("fps", "chunk_frames", "motion_frames", "pcm_hz", "window_s")


@dataclass(frozen=True)
class Sampling(JsonConfig):
    """Settings of one run.

    Args:
        steps: network evaluations per chunk.
        shift: of the noise levels (``diffusion.schedule``).
        sampler: ``renoise`` (report section 3.3, for distilled weights) or ``euler``.
        audio_guidance: weight of the speech, 1 for none; any other value costs a second network
            evaluation per step, in the same batch.
        color_strength: share of the colour correction, 0 to 1.
        height_px, width_px: default size of the video.
        prompt: default prompt.
    """

    steps: int = 4
    shift: float = 5.0
    sampler: str = "renoise"
    audio_guidance: float = 1.0
    color_strength: float = 1.0
    height_px: int = 720
    width_px: int = 416
    prompt: str = "A person is talking."

    def __post_init__(self) -> None:
        for field in ("steps", "height_px", "width_px"):
            if (value := getattr(self, field)) < 1:
                raise InputError(field, value, "a whole number, at least 1")
        if not 0 <= self.color_strength <= 1:
            raise InputError("color_strength", self.color_strength, "from 0 to 1")
        if not 0 <= self.audio_guidance <= 100:
            raise InputError("audio_guidance", self.audio_guidance, "from 0 to 100")
        if self.sampler not in SAMPLERS:
            raise InputError("sampler", self.sampler, f"one of {', '.join(SAMPLERS)}")

    @property
    def size_hw(self) -> tuple[int, int]:
        """Returns height and width in pixels."""
        return self.height_px, self.width_px


def save_sampling(sampling: Sampling, folder: Path) -> None:
    """Writes ``pipeline.json`` into an existing folder of weights."""
    text = json.dumps(sampling.to_dict(), indent=2, ensure_ascii=False)
    (folder / SAMPLING_FILE).write_text(text + "\n", encoding="utf-8")


def load_sampling(folder: Path) -> Sampling:
    """Reads ``pipeline.json``. Raises WeightsError if it is missing or has unknown fields."""
    values = _read(folder)
    if values is None:
        raise WeightsError(f"{folder}: missing {SAMPLING_FILE}")
    try:
        return Sampling.from_dict({k: v for k, v in values.items() if k != _STREAM})
    except InputError as error:
        raise WeightsError(f"{folder / SAMPLING_FILE}: {error}") from error


def load_stream_numbers(folder: Path, preset: StreamSpec) -> StreamSpec:
    """Returns the preset's frames and samples of a chunk, updated by ``pipeline.json``.

    Raises:
        WeightsError: a value that is not a whole number above 0, or an unknown name.
    """
    said = (_read(folder) or {}).get(_STREAM, {})
    try:
        if not isinstance(said, dict) or set(said) - set(_STREAM_FIELDS):
            raise InputError(_STREAM, said, f"any of {', '.join(_STREAM_FIELDS)}")
        for field, value in said.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{_STREAM}.{field}", value, "a whole number, at least 1")
        return dataclasses.replace(preset, **said)
    except InputError as error:
        raise WeightsError(f"{folder / SAMPLING_FILE}: {error}") from error


def _read(folder: Path) -> dict[str, Any] | None:
    """Returns the contents of ``pipeline.json``, if it exists."""
    path = folder / SAMPLING_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: {error}") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{path}: not a JSON object")
    return values
