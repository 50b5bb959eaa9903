"""The files of a data set on disk: flat arrays that are memory-mapped.

Files of a cache folder (N utterances, T frames, S samples, K tracks, D identity columns):
``frames.npy`` uint8 [N, T, H, W, 3], ``pcm.npy`` int16 [N, S], ``tracks.npy`` float32 [N, T, K],
``phonemes.npy`` uint8 [N, T], ``identity.npy`` float32 [N, D], ``done.npy`` bool [N],
``texts.jsonl`` (one line per utterance) and ``meta.json``.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flashtalk.arrays import NamedArrays
from flashtalk.errors import InputError
from training.data.synthtalk.identity import IDENTITY_COLUMNS
from training.data.synthtalk.phonemes import PHONEME_CLASSES
from training.data.synthtalk.renderer import RENDERER_VERSION
from training.data.synthtalk.tracks import TRACK_COLUMNS
from training.data.synthtalk.utterance import SynthTalkConfig

FORMAT_VERSION = 1
PCM_SCALE = 32767.0
TEXTS_NAME = "texts.jsonl"


def config_digest(config: SynthTalkConfig) -> str:
    """Returns a digest of everything that determines the bytes of a cache."""
    parts = [asdict(config), FORMAT_VERSION, RENDERER_VERSION]
    parts += [TRACK_COLUMNS, IDENTITY_COLUMNS, PHONEME_CLASSES]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _layout(config: SynthTalkConfig) -> dict[str, tuple[tuple[int, ...], str]]:
    count, frames = config.count, config.frames
    return {
        "frames": ((count, frames, *config.size_hw, 3), "uint8"),
        "pcm": ((count, config.samples), "int16"),
        "tracks": ((count, frames, len(TRACK_COLUMNS)), "float32"),
        "phonemes": ((count, frames), "uint8"),
        "identity": ((count, len(IDENTITY_COLUMNS)), "float32"),
        "done": ((count,), "bool"),
    }


def create_files(config: SynthTalkConfig, folder: Path) -> None:
    """Creates empty arrays of a config; meta.json is written last and marks a cache."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (shape, dtype) in _layout(config).items():
        np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=np.dtype(dtype), shape=shape
        )
    (folder / TEXTS_NAME).write_text("", encoding="utf-8")
    meta = {
        "digest": config_digest(config),
        "config": asdict(config),
        "track_columns": TRACK_COLUMNS,
        "identity_columns": IDENTITY_COLUMNS,
        "phoneme_classes": PHONEME_CLASSES,
    }
    partial = folder / "meta.json.partial"
    partial.write_text(json.dumps(meta, indent=1, ensure_ascii=False), encoding="utf-8")
    partial.rename(folder / "meta.json")


def open_arrays(folder: Path, mode: Literal["r", "r+"]) -> NamedArrays:
    """The arrays of a folder as memory maps, by file name without ending."""
    names = ("frames", "pcm", "tracks", "phonemes", "identity", "done")
    return {name: np.lib.format.open_memmap(folder / f"{name}.npy", mode=mode) for name in names}


def read_config(folder: Path) -> tuple[SynthTalkConfig, str]:
    """Returns the config of a cache folder and its digest.

    Raises:
        InputError: the folder is not a cache.
    """
    meta_path = folder / "meta.json"
    if not meta_path.exists():
        raise InputError("cache_dir", folder, "not a SynthTalk cache: meta.json is missing")
    meta = json.loads(meta_path.read_text(encoding="utf-8"))
    given = dict(meta["config"])
    given["size_hw"] = tuple(given["size_hw"])
    return SynthTalkConfig(**given), str(meta["digest"])


def read_texts(folder: Path) -> dict[int, dict[str, Any]]:
    """Returns the text records by utterance index.

    After an interrupted build a line may be incomplete or repeated; the last complete one counts.
    """
    records: dict[int, dict[str, Any]] = {}
    with (folder / TEXTS_NAME).open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                record: dict[str, Any] = json.loads(line)
            except json.JSONDecodeError:
                continue
            records[int(record["index"])] = record
    return records
