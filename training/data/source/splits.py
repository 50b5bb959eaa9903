"""The two splits of a training: recorded or rendered videos."""

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
    """Opens a split: ``SPLIT.jsonl``, a scanned manifest of recorded videos; or a rendered one.

    Raises:
        InputError: neither exists, or it is unusable.
    """
    manifest, rendered = data_dir / f"{split}.jsonl", data_dir / split
    if manifest.is_file():
        return VideoFolder(manifest)
    if (rendered / "meta.json").is_file():
        return SynthTalkSource(SynthTalk(rendered))
    limit = f"must contain a manifest {manifest.name} (docs/data.md) or rendered data in {split}/"
    raise InputError("--data", data_dir, limit)


def open_sources(data_dir: Path) -> Mapping[Split, VideoSource]:
    """Opens both splits; errors as ``open_source``."""
    return {split: open_source(data_dir, split) for split in SPLITS}


def with_truth(source: VideoSource, field: str) -> SynthTalkSource:
    """Returns a rendered source.

    Raises:
        InputError: recorded videos; ``field`` of the recipe needs the truth of rendered ones.
    """
    if not isinstance(source, SynthTalkSource):
        raise InputError(
            field, source.name, "needs rendered data: recorded videos have no ground truth"
        )
    return source
