"""Converts a folder of videos, or WebDataset shards, to a manifest.

A video's caption is the text file of the same name beside it, or ``caption`` in the JSON file of
the same name; the text file comes first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from posixpath import splitext
from typing import BinaryIO

from training.data.published.conversion import SUFFIXES, Conversion, below, video_files
from training.data.videos.manifest import Entry
from training.data.videos.media_file import shard_members

_TEXTS = (".txt", ".json")


def convert_folder(videos: Path, folder: Path) -> Conversion:
    """Returns an entry for every video file below a folder.

    Raises:
        InputError: no such folder, or not below the manifest's folder.
    """
    conversion = Conversion()
    for path in video_files(videos):
        caption = _caption(partial(_beside, path), conversion)
        conversion.entries.append(Entry(path=below(path, folder), caption=caption))
    return conversion


def convert_shards(shards: list[Path], folder: Path) -> Conversion:
    """Returns an entry for every video in uncompressed tar shards.

    Raises:
        InputError: a shard that is missing, compressed or damaged, or outside the manifest's
            folder.
    """
    conversion = Conversion()
    for shard in sorted(shards):
        members = shard_members(shard)
        name_of_shard = below(shard, folder)
        with shard.open("rb") as file:
            for name in members:
                stem, ending = splitext(name)
                if ending.lower() in SUFFIXES:
                    caption = _caption(partial(_member, file, members, stem), conversion)
                    entry = Entry(name, shard=name_of_shard, caption=caption)
                    conversion.entries.append(entry)
    return conversion


def _member(
    file: BinaryIO, members: Mapping[str, tuple[int, int]], stem: str, suffix: str
) -> bytes | None:
    place = members.get(stem + suffix)
    if place is None:
        return None
    file.seek(place[0])
    return file.read(place[1])


def _beside(path: Path, suffix: str) -> bytes | None:
    beside = path.with_suffix(suffix)
    return beside.read_bytes() if beside.is_file() else None


def _caption(read: Callable[[str], bytes | None], conversion: Conversion) -> str:
    for suffix in _TEXTS:
        data = read(suffix)
        if data is None:
            continue
        text = data.decode("utf-8", errors="replace").strip()
        if suffix == ".txt":
            return text
        try:
            caption = json.loads(text).get("caption")
        except (ValueError, AttributeError):
            continue
        if isinstance(caption, str):
            return caption.strip()
    conversion.notes["no caption: it is empty"] += 1
    return ""
