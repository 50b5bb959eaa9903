"""The data set on disk: flat memory-mapped arrays, built once, resumed after an interruption.

Files of a cache folder (N utterances, T frames, S samples, K tracks, D identity columns):
``frames.npy`` uint8 [N, T, H, W, 3], ``pcm.npy`` int16 [N, S], ``tracks.npy`` float32 [N, T, K],
``phonemes.npy`` uint8 [N, T], ``identity.npy`` float32 [N, D], ``done.npy`` bool [N],
``texts.jsonl`` (one line per utterance) and ``meta.json``.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rich.progress

from flashtalk.errors import InputError
from training.data.synthtalk.identity import IDENTITY_COLUMNS
from training.data.synthtalk.phonemes import PHONEME_CLASSES
from training.data.synthtalk.renderer import RENDERER_VERSION
from training.data.synthtalk.speech import Synthesiser
from training.data.synthtalk.tracks import TRACK_COLUMNS
from training.data.synthtalk.utterance import Speak, SynthTalkConfig, Utterance, make_utterance

FORMAT_VERSION = 1
_PCM_SCALE = 32767.0

Arrays = dict[str, npt.NDArray[Any]]


def config_digest(config: SynthTalkConfig) -> str:
    """A digest of all that decides the bytes of a cache."""
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


def _create(config: SynthTalkConfig, folder: Path) -> None:
    """Empty arrays; meta.json comes last and marks the folder as a cache."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (shape, dtype) in _layout(config).items():
        np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=np.dtype(dtype), shape=shape
        )
    (folder / "texts.jsonl").write_text("", encoding="utf-8")
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


def _open(folder: Path, mode: str) -> Arrays:
    names = ("frames", "pcm", "tracks", "phonemes", "identity", "done")
    return {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", mode=mode)
        for name in names
    }  # fmt: skip


def _store(arrays: Arrays, index: int, utterance: Utterance, config: SynthTalkConfig) -> None:
    arrays["pcm"][index] = np.round(np.clip(utterance.pcm_16k, -1, 1) * _PCM_SCALE)
    arrays["tracks"][index] = utterance.tracks
    arrays["phonemes"][index] = utterance.phoneme_ids
    arrays["identity"][index] = utterance.identity
    arrays["frames"][index] = utterance.render(0, config.frames, config.size_hw)


def build_cache(
    config: SynthTalkConfig,
    cache_dir: Path,
    *,
    speak: Speak | None = None,
    show_progress: bool = True,
) -> Path:
    """Make all utterances of a config that the folder does not hold yet.

    Killed half-way it goes on with the first missing utterance; an utterance depends on its index
    alone, so the result is the same.

    Args:
        config: the data set.
        cache_dir: the folder; made if missing.
        speak: a synthesiser (``Synthesiser.speak``); one is started by default.
        show_progress: show a progress bar.

    Raises:
        InputError: the folder holds a cache of another config or another version of the renderer.
    """
    _prepare(config, cache_dir)
    if speak is not None:
        _fill(config, cache_dir, speak, show_progress)
        return cache_dir
    with Synthesiser() as synthesiser:
        _fill(config, cache_dir, synthesiser.speak, show_progress)
    return cache_dir


def _prepare(config: SynthTalkConfig, folder: Path) -> None:
    if not (folder / "meta.json").exists():
        _create(config, folder)
    found = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["digest"]
    digest = config_digest(config)
    if found != digest:
        limit = f"a new folder: this one holds data set {found}, not {digest}"
        raise InputError("cache_dir", folder, limit)


def _fill(config: SynthTalkConfig, folder: Path, speak: Speak, show_progress: bool) -> None:
    arrays = _open(folder, "r+")
    missing = [index for index in range(config.count) if not arrays["done"][index]]
    with (
        (folder / "texts.jsonl").open("a", encoding="utf-8") as texts,
        rich.progress.Progress(disable=not show_progress) as progress,
    ):
        task = progress.add_task(f"SynthTalk {config.split}", total=len(missing))
        # A line that was cut short by a kill must not swallow the next one.
        texts.write("\n")
        for index in missing:
            utterance = make_utterance(config, index, speak)
            _store(arrays, index, utterance, config)
            texts.write(json.dumps(_describe(index, utterance), ensure_ascii=False) + "\n")
            texts.flush()
            arrays["done"][index] = True  # last: a kill before this line repeats the utterance
            progress.advance(task)
    for array in arrays.values():
        if isinstance(array, np.memmap):
            array.flush()


def _describe(index: int, utterance: Utterance) -> dict[str, Any]:
    return {
        "index": index,
        "caption": utterance.caption,
        "text": utterance.text,
        "language": utterance.language,
        "voice": asdict(utterance.voice),
    }


@dataclass(frozen=True)
class Clip:
    """A stretch of one utterance: uint8 frames ``[n, H, W, 3]``, float32 pcm ``[n * 640]``,
    float32 tracks ``[n, K]``, int64 phoneme ids ``[n]``."""

    frames: npt.NDArray[np.uint8]
    pcm_16k: npt.NDArray[np.float32]
    tracks: npt.NDArray[np.float32]
    phoneme_ids: npt.NDArray[np.int64]


class SynthTalk:
    """A finished cache folder, read through memory maps.

    Attributes:
        config: the config it was built from.
        arrays: the raw memory maps by file name without ending.
        captions, texts, languages, voices: per utterance.

    Raises:
        InputError: the folder is no cache, is unfinished, or comes from another version.
    """

    def __init__(self, cache_dir: Path) -> None:
        meta_path = cache_dir / "meta.json"
        if not meta_path.exists():
            raise InputError("cache_dir", cache_dir, "a SynthTalk cache (no meta.json here)")
        meta = json.loads(meta_path.read_text(encoding="utf-8"))
        given = dict(meta["config"])
        given["size_hw"] = tuple(given["size_hw"])
        self.config = SynthTalkConfig(**given)
        if meta["digest"] != config_digest(self.config):
            raise InputError("cache_dir", cache_dir, "a cache of this version: build it again")
        self.arrays = _open(cache_dir, "r")
        done = int(self.arrays["done"].sum())
        if done < self.config.count:
            limit = (
                f"a finished cache (build_cache resumes): {done} of {self.config.count} are made"
            )
            raise InputError("cache_dir", cache_dir, limit)
        with (cache_dir / "texts.jsonl").open(encoding="utf-8") as lines:
            # Where a build was killed a line may be cut short or doubled; the last whole one counts.
            records = {
                record["index"]: record for record in map(_record, lines) if record is not None
            }
        ordered = [records[index] for index in range(self.config.count)]
        self.captions = [str(record["caption"]) for record in ordered]
        self.texts = [str(record["text"]) for record in ordered]
        self.languages = [str(record["language"]) for record in ordered]
        self.voices = [str(record["voice"]["name"]) for record in ordered]

    def __len__(self) -> int:
        return self.config.count

    def identity(self, index: int) -> npt.NDArray[np.float32]:
        """Identity vector of an utterance, float32 ``[D]``."""
        return np.array(self.arrays["identity"][index])

    def clip(self, index: int, first: int, frames: int) -> Clip:
        """Frames ``first .. first + frames - 1`` of an utterance and what belongs to them."""
        if not 0 <= index < len(self):
            raise InputError("index", index, f"0 .. {len(self) - 1}")
        if first < 0 or frames < 1 or first + frames > self.config.frames:
            raise InputError("first, frames", (first, frames), f"inside 0 .. {self.config.frames}")
        step = self.config.samples // self.config.frames
        pcm = self.arrays["pcm"][index, first * step : (first + frames) * step]
        rows = slice(first, first + frames)
        return Clip(
            frames=np.array(self.arrays["frames"][index, rows]),
            pcm_16k=pcm.astype(np.float32) / np.float32(_PCM_SCALE),
            tracks=np.array(self.arrays["tracks"][index, rows]),
            phoneme_ids=self.arrays["phonemes"][index, rows].astype(np.int64),
        )


def _record(line: str) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:
        return None
    return record
