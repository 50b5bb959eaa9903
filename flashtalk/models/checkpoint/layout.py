"""Finds the parts of a checkpoint folder, in the published layout and in this project's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint.read import has_weights, missing_shards

CONFIG = "config.json"
VAE_FILE = "Wan2.1_VAE.pth"
CLIP_FILE = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
TEXT_FILE = "models_t5_umt5-xxl-enc-bf16.pth"
TOKENIZER_FOLDERS = ("google/umt5-xxl", "umt5-xxl", "tokenizer")
AUDIO_FOLDERS = ("chinese-wav2vec2-base", "TencentGameMate/chinese-wav2vec2-base", "wav2vec2")
# The files of a tokenizer: a complete one, or a sentencepiece model and its configuration.
TOKENIZER_FILES = (("tokenizer.json",), ("spiece.model", "tokenizer_config.json"))
OWN_FOLDERS = ("dit", "vae", "wav2vec2", "clip", "umt5")


@dataclass(frozen=True)
class CheckpointLayout:
    """The parts of one checkpoint; every path exists and can be passed to ``load_state``.

    Args:
        kind: ``published``: names of the published files, which their ``weights.py`` converts,
            and a config only for the DiT and the speech encoder. ``own``: this project's folders,
            our names, a config for each.
        dit: folder with ``config.json`` and safetensors.
        vae, clip, umt5: file (published) or folder with ``config.json`` (own).
        wav2vec2: folder with ``config.json`` and weights.
        tokenizer: folder for ``umt5.load_tokenizer``.
    """

    kind: Literal["published", "own"]
    dit: Path
    vae: Path
    wav2vec2: Path
    clip: Path
    umt5: Path
    tokenizer: Path


def find_checkpoint(
    folder: Path, *, wav2vec2: Path | None = None, tokenizer: Path | None = None
) -> CheckpointLayout:
    """Finds every part of a checkpoint folder.

    Args:
        folder: a published folder, or one of this project (``weights/tiny``).
        wav2vec2: the speech encoder's folder, if it is neither inside nor beside ``folder``.
        tokenizer: the tokenizer's folder, if it is not inside ``folder``.

    Raises:
        InputError: ``folder`` is not a folder.
        WeightsError: parts are missing; the message names them all.
    """
    if not os.path.isdir(folder):  # Path.is_dir raises for names that are too long
        raise InputError("weights", folder, "not a folder")
    if (folder / OWN_FOLDERS[0]).is_dir():
        return _own(folder)
    missing: list[str] = []
    if not ((folder / CONFIG).is_file() and has_weights(folder)):
        missing.append(f"{CONFIG} and diffusion_pytorch_model*.safetensors")
    missing += missing_shards(folder)
    missing += [n for n in (VAE_FILE, CLIP_FILE, TEXT_FILE) if not (folder / n).is_file()]
    audio = wav2vec2 or _first(_audio_places(folder), _is_model)
    if audio is None or not _is_model(audio):
        missing.append(f"{AUDIO_FOLDERS[0]} ({CONFIG} and weights; in the folder or beside it)")
    words = tokenizer or _find_tokenizer(folder)
    if words is None or not _is_tokenizer(words):
        files = " or ".join(" with ".join(names) for names in TOKENIZER_FILES)
        missing.append(f"{TOKENIZER_FOLDERS[0]} ({files})")
    if missing or audio is None or words is None:
        raise WeightsError(f"{folder}: missing {'; '.join(missing)}")
    return CheckpointLayout(
        "published",
        dit=folder,
        vae=folder / VAE_FILE,
        wav2vec2=audio,
        clip=folder / CLIP_FILE,
        umt5=folder / TEXT_FILE,
        tokenizer=words,
    )


def _own(folder: Path) -> CheckpointLayout:
    missing: list[str] = []
    for name in OWN_FOLDERS:
        if not (folder / name / CONFIG).is_file():
            missing.append(f"{name}/{CONFIG}")
        if not has_weights(folder / name):
            missing.append(f"{name}/*.safetensors")
    text = folder / OWN_FOLDERS[-1]
    if not _is_tokenizer(text):
        missing.append(f"{text.name}/{TOKENIZER_FILES[0][0]}")
    if missing:
        raise WeightsError(f"{folder}: missing {', '.join(missing)}")
    pieces = {name: folder / name for name in OWN_FOLDERS}
    return CheckpointLayout("own", **pieces, tokenizer=text)


def _audio_places(folder: Path) -> Iterable[Path]:
    beside = folder.resolve().parent
    return (base / name for base in (folder, beside) for name in AUDIO_FOLDERS)


def _find_tokenizer(folder: Path) -> Path | None:
    known = _first((folder / name for name in TOKENIZER_FOLDERS), _is_tokenizer)
    if known is not None:
        return known
    # Another name is accepted if it is unambiguous.
    others = [f for pattern in ("*/", "*/*/") for f in folder.glob(pattern) if _is_tokenizer(f)]
    return others[0] if len(others) == 1 else None


def _is_model(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and has_weights(folder)


def _is_tokenizer(folder: Path) -> bool:
    return any(all((folder / name).is_file() for name in names) for names in TOKENIZER_FILES)


def _first(folders: Iterable[Path], good: Callable[[Path], bool]) -> Path | None:
    return next((folder for folder in folders if good(folder)), None)
