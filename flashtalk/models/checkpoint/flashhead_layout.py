"""Finds the parts of a FlashHead folder (``SoulX-FlashHead-1_3B``): one folder, two variants."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint.layout import CONFIG, VAE_FILE
from flashtalk.models.checkpoint.read import has_weights, load_state, missing_shards
from flashtalk.presets import FLASHHEAD, ORIGINS

Variant = Literal["pro", "lite"]
NETWORK_FOLDERS: dict[Variant, str] = {"pro": "Model_Pro", "lite": "Model_Lite"}
WAN_VAE, LTX_VAE = f"VAE_Wan/{VAE_FILE}", "VAE_LTX"
SPEECH_FOLDERS = ("wav2vec2-base-960h", "facebook/wav2vec2-base-960h")
_ORIGIN = ORIGINS[FLASHHEAD]
# Of the recogniser that the file also contains. Pre-training files have other names instead, but
# encoders of the same shapes: another folder would load, and hear nothing.
_RECOGNISER = "lm_head.weight"
_PRETRAINING = ("quantizer.", "project_q.", "project_hid.")


@dataclass(frozen=True)
class FlashHeadLayout:
    """The parts of one variant; every path exists and can be passed to ``load_state``.

    Args:
        network: folder with ``config.json`` and safetensors.
        vae: file of the Wan VAE (Pro), or folder of the LTX VAE with ``config.json`` (Lite).
        wav2vec2: folder of ``wav2vec2-base-960h``.
    """

    network: Path
    vae: Path
    wav2vec2: Path


def find_flashhead(
    folder: Path, variant: Variant, *, wav2vec2: Path | None = None
) -> FlashHeadLayout:
    """Finds the parts of a variant.

    Args:
        folder: the published folder.
        variant: ``pro`` or ``lite``.
        wav2vec2: the speech encoder's folder, if it is neither inside nor beside ``folder``.

    Raises:
        InputError: ``folder`` is not a folder.
        WeightsError: parts are missing, or the speech encoder is another one; the message names
            them all, and where the files come from.
    """
    if not os.path.isdir(folder):  # Path.is_dir raises for names that are too long
        raise InputError(
            "weights", folder, f"not a folder; the files come from {ORIGINS[FLASHHEAD]}"
        )
    network, missing = folder / NETWORK_FOLDERS[variant], []
    if not _is_model(network):
        missing.append(f"{network.name}/{CONFIG} and {network.name}/*.safetensors")
    elif absent := missing_shards(network):
        missing += [f"{network.name}/{name}" for name in absent]
    vae = folder / (WAN_VAE if variant == "pro" else LTX_VAE)
    if not (vae.is_file() if variant == "pro" else _is_model(vae)):
        missing.append(WAN_VAE if variant == "pro" else f"{LTX_VAE}/{CONFIG} and *.safetensors")
    speech = wav2vec2 or _find_speech(folder)
    if speech is None or not _is_model(speech):
        missing.append(f"{SPEECH_FOLDERS[0]} ({CONFIG} and weights; in the folder or beside it)")
    if missing or speech is None:
        raise WeightsError(
            f"{folder}: missing {'; '.join(missing)}; they come from {ORIGINS[FLASHHEAD]}"
        )
    _check_speech(speech)
    return FlashHeadLayout(network, vae, speech)


def _check_speech(folder: Path) -> None:
    """Raises WeightsError for another encoder of the same shapes, told apart by tensor names."""
    names = _names(folder)
    if _RECOGNISER in names and not any(name.startswith(_PRETRAINING) for name in names):
        return
    raise WeightsError(
        f"{folder}: not {SPEECH_FOLDERS[0]}: no tensor {_RECOGNISER}. Other speech encoders have "
        "the same shapes, but this network was not trained with them"
    )


def _names(folder: Path) -> set[str]:
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        return set(load_state(folder))
    try:
        with safe_open(files[0], framework="pt") as file:
            return set(file.keys())
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{files[0]}: damaged or not safetensors: {error}") from error


def _find_speech(folder: Path) -> Path | None:
    places = (base / name for base in (folder, folder.resolve().parent) for name in SPEECH_FOLDERS)
    return next((place for place in places if _is_model(place)), None)


def _is_model(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and has_weights(folder)
