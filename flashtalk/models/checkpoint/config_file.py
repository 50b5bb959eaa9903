"""Reads and writes ``config.json``, the configuration beside the weights of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint.layout import CONFIG
from flashtalk.validation import JsonConfig

ConfigT = TypeVar("ConfigT", bound=JsonConfig)


def save_config(config: JsonConfig, folder: Path) -> None:
    """Writes ``config.json`` into an existing folder."""
    text = json.dumps(config.to_dict(), indent=2)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def read_config(kind: type[ConfigT], folder: Path) -> ConfigT:
    """Reads ``config.json``. Raises WeightsError if it is missing or does not describe ``kind``."""
    path = folder / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise InputError(CONFIG, values, "an object")
        return kind.from_dict(values)
    except (OSError, ValueError, InputError) as error:
        raise WeightsError(f"{path}: {error}") from error
