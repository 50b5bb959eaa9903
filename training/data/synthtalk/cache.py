"""The data set on disk: built once, resumed after interruptions, memory-mapped for reading."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rich.progress

from flashtalk.arrays import FloatArray, Frames, IntArray, NamedArrays, Pcm
from flashtalk.errors import InputError
from training.data.synthtalk.cache_files import (
    PCM_SCALE,
    TEXTS_NAME,
    config_digest,
    create_files,
    open_arrays,
    read_config,
    read_texts,
)
from training.data.synthtalk.speech import Synthesiser
from training.data.synthtalk.utterance import Speak, SynthTalkConfig, Utterance, make_utterance


def _store(arrays: NamedArrays, index: int, utterance: Utterance, config: SynthTalkConfig) -> None:
    arrays["pcm"][index] = np.round(np.clip(utterance.pcm_16k, -1, 1) * PCM_SCALE)
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
    """Renders all missing utterances of a config in a folder.

    An interrupted build resumes with the first missing utterance; an utterance depends only on its
    index, so the result is the same.

    Args:
        config: the data set.
        cache_dir: the folder; created if missing.
        speak: a synthesiser (``Synthesiser.speak``); one is started by default.
        show_progress: show a progress bar.

    Raises:
        InputError: the folder has a cache of another config or renderer version.
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
        create_files(config, folder)
    _, found = read_config(folder)
    digest = config_digest(config)
    if found != digest:
        limit = f"must be a new folder: this one contains data set {found}, not {digest}"
        raise InputError("cache_dir", folder, limit)


def _fill(config: SynthTalkConfig, folder: Path, speak: Speak, show_progress: bool) -> None:
    arrays = open_arrays(folder, "r+")
    missing = [index for index in range(config.count) if not arrays["done"][index]]
    with (
        (folder / TEXTS_NAME).open("a", encoding="utf-8") as texts,
        rich.progress.Progress(disable=not show_progress) as progress,
    ):
        task = progress.add_task(f"SynthTalk {config.split}", total=len(missing))
        # An incomplete line of an interrupted build must not merge with the next one.
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
class RenderedClip:
    """A stretch of one utterance: uint8 frames ``[n, H, W, 3]``, float32 pcm ``[n * 640]``,
    float32 tracks ``[n, K]``, int64 phoneme ids ``[n]``."""

    frames: Frames
    pcm_16k: Pcm
    tracks: FloatArray
    phoneme_ids: IntArray


class SynthTalk:
    """A finished cache folder, read through memory maps.

    Attributes:
        config: the config it was built from.
        arrays: the raw memory maps by file name without ending.
        captions, texts, voices: per utterance.

    Raises:
        InputError: the folder is not a cache, is unfinished, or has another version.
    """

    def __init__(self, cache_dir: Path) -> None:
        self.config, digest = read_config(cache_dir)
        if digest != config_digest(self.config):
            raise InputError(
                "cache_dir", cache_dir, "the cache has another version; build it again"
            )
        self.arrays = open_arrays(cache_dir, "r")
        done = int(self.arrays["done"].sum())
        if done < self.config.count:
            limit = (
                f"the cache is not finished: {done} of {self.config.count} utterances; build "
                "again to resume"
            )
            raise InputError("cache_dir", cache_dir, limit)
        records = read_texts(cache_dir)
        ordered = [records[index] for index in range(self.config.count)]
        self.captions = [str(record["caption"]) for record in ordered]
        self.texts = [str(record["text"]) for record in ordered]
        self.voices = [str(record["voice"]["name"]) for record in ordered]

    def __len__(self) -> int:
        return self.config.count

    def identity(self, index: int) -> FloatArray:
        """Returns the identity vector of an utterance, float32 ``[D]``."""
        return np.array(self.arrays["identity"][index])

    def clip(self, index: int, first: int, frames: int) -> RenderedClip:
        """Returns frames ``first .. first + frames - 1`` of an utterance, with sound and tracks."""
        if not 0 <= index < len(self):
            raise InputError("index", index, f"0 .. {len(self) - 1}")
        if first < 0 or frames < 1 or first + frames > self.config.frames:
            raise InputError(
                "first, frames", (first, frames), f"must be within 0 .. {self.config.frames}"
            )
        step = self.config.samples // self.config.frames
        pcm = self.arrays["pcm"][index, first * step : (first + frames) * step]
        rows = slice(first, first + frames)
        return RenderedClip(
            frames=np.array(self.arrays["frames"][index, rows]),
            pcm_16k=pcm.astype(np.float32) / np.float32(PCM_SCALE),
            tracks=np.array(self.arrays["tracks"][index, rows]),
            phoneme_ids=self.arrays["phonemes"][index, rows].astype(np.int64),
        )
