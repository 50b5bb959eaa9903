"""The two splits that a training reads: recorded videos, or rendered ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from flashtalk.errors import InputError
from training.data.source.recorded import VideoFolder
from training.data.source.synthtalk import SynthTalkSource
from training.data.source.video import VideoSource
from training.data.synthtalk import SynthTalk

Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")


def open_source(data_dir: Path, split: str) -> VideoSource:
    """A split: ``SPLIT.jsonl``, a scanned manifest of recorded videos; or a rendered one.

    Raises:
        InputError: neither is there, or it cannot be used.
    """
    manifest, rendered = data_dir / f"{split}.jsonl", data_dir / split
    if manifest.is_file():
        return VideoFolder(manifest)
    if (rendered / "meta.json").is_file():
        return SynthTalkSource(SynthTalk(rendered))
    limit = f"a manifest {manifest.name} (docs/data.md), or rendered data in {split}/"
    raise InputError("--data", data_dir, limit)


def open_sources(data_dir: Path) -> Mapping[Split, VideoSource]:
    """Both splits; errors as ``open_source``."""
    return {split: open_source(data_dir, split) for split in SPLITS}


def with_truth(source: VideoSource, field: str) -> SynthTalkSource:
    """A rendered source.

    Raises:
        InputError: recorded videos; ``field`` of the recipe asks for what only rendered ones know.
    """
    if not isinstance(source, SynthTalkSource):
        raise InputError(field, source.name, "rendered data: recorded videos do not know the truth")
    return source
