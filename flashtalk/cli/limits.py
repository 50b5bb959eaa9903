"""Limits of command options; checked before large imports."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from flashtalk.bounds import check_between
from flashtalk.errors import InputError
from flashtalk.presets import (
    ORIGINS,
    PRECISIONS,
    PRESETS,
    TINY,
    WITHOUT_PROMPT,
    needs_folder,
    no_prompt_limit,
)

MOST_STEPS = 1_000
MOST_GUIDANCE = 100
# More than any text encoder here reads, and far less than the limit of a message.
MOST_PROMPT_CHARACTERS = 10_000


def check_steps(steps: int | None) -> None:
    """Raises InputError for fewer than one step, or far too many."""
    check_between("steps", steps, 1, MOST_STEPS)


def check_prompt(prompt: str | None, preset: str | None = None) -> None:
    """Raises InputError for bytes that are not text, a text that is far too long, or any prompt for
    a preset without text."""
    if prompt is None:
        return
    if prompt and preset in WITHOUT_PROMPT:
        raise InputError("prompt", prompt, no_prompt_limit(str(preset)))
    if len(prompt) > MOST_PROMPT_CHARACTERS:
        limit = f"at most {MOST_PROMPT_CHARACTERS}"
        raise InputError("prompt", f"{len(prompt)} characters", limit)
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise InputError("prompt", ascii(prompt), "must be valid UTF-8 text") from error


def check_preset(preset: str) -> None:
    """Raises InputError for an unknown preset."""
    if preset not in PRESETS:
        raise InputError("preset", preset, f"one of {', '.join(PRESETS)}")


def check_precision(dtype: str) -> None:
    """Raises InputError for an unknown precision."""
    if dtype not in ("auto", *PRECISIONS):
        raise InputError("dtype", dtype, f"auto, {', '.join(PRECISIONS)}")


def check_weights(preset: str, weights: Path | None) -> None:
    """Raises InputError for a folder that cannot contain weights; its files are checked later."""
    if weights is None:
        if preset != TINY:
            raise InputError("weights", "none given", needs_folder(preset))
        return
    try:
        there = weights.is_dir()
    except OSError as error:
        raise InputError("weights", weights, error.strerror or str(error)) from error
    if not there:
        limit = f"no such folder; {needs_folder(preset)}" if preset in ORIGINS else "no such folder"
        raise InputError("weights", weights, limit)


def check_report(path: Path | None) -> None:
    """Raises InputError for a JSON file that cannot be written. Changes nothing."""
    if path is None:
        return
    try:
        if path.is_dir() or not path.parent.is_dir():
            raise InputError("out", path, "must be a file in an existing folder")
        place = Path(os.path.realpath(path))  # target of a symbolic link
        there = place.exists()
        # Devices such as /dev/null and pipes are accepted too, but opening them may block.
        if not there or place.is_file():
            with place.open("ab"):
                pass
        if not there:
            place.unlink()
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


def make_folder(path: Path | None) -> None:
    """Creates the folder of a JSON file. Raises InputError if that is impossible."""
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise _unwritable(path, error) from error


def save_report(document: dict[str, Any], path: Path) -> None:
    """Writes a JSON file. Raises InputError if the disk is full."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK
    try:
        # A named pipe without a reader is an error, not a reason to wait.
        number = os.open(path, flags, 0o666)
        os.set_blocking(number, True)
        with open(number, "w", encoding="utf-8") as file:
            file.write(json.dumps(document, indent=2) + "\n")
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError | ValueError) -> InputError:
    reason = getattr(error, "strerror", None) or str(error)
    return InputError("out", path, f"not writable ({reason})")
