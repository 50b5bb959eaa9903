"""Files of the transformer: the published diffusers folder and our own, in the same format.

``DiT`` uses the published parameter names, so the published state dict loads as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from flashtalk.errors import WeightsError
from flashtalk.models.checkpoint import read_config
from flashtalk.models.dit.config import DiTConfig

WEIGHTS_STEM = "diffusion_pytorch_model"
NO_AUDIO = (
    "An audio overlay is missing: Wan2.1 has no audio layers; "
    "InfiniteTalk's single/infinitetalk.safetensors adds these tensors"
)
_AUDIO_PREFIX = "audio_proj."


def convert(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the published state dict; our names are the same."""
    return dict(published)


def has_audio(state: Iterable[str]) -> bool:
    """Whether there are tensors of the audio layers among these names."""
    return any(name.startswith(_AUDIO_PREFIX) for name in state)


def load_config(folder: Path) -> DiTConfig:
    """Read ``config.json``, published or ours.

    Raises WeightsError if it is missing or does not describe a network of this kind.
    """
    return read_config(DiTConfig, folder)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors of a checkpoint folder: one file, or the shards that its index names.

    Raises:
        WeightsError: there are none, the index cannot be read, or shards are missing.
    """
    single = folder / f"{WEIGHTS_STEM}.safetensors"
    if single.is_file():
        return (single,)
    index = folder / f"{WEIGHTS_STEM}.safetensors.index.json"
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except FileNotFoundError as error:
        raise WeightsError(f"{folder}: neither {single.name} nor {index.name}") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{index}: not an index of weights: {error!r}") from error
    shards = tuple(folder / name for name in names)
    if missing := [s.name for s in shards if not s.is_file()]:
        raise WeightsError(f"{folder}: missing {', '.join(missing)}")
    return shards
