"""One name for all weights of a checkpoint: workers with equal names make equal chunks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from flashtalk.engine.digest_cache import DigestCache, FileStamp
from flashtalk.engine.sampling import SAMPLING_FILE
from flashtalk.models.checkpoint import CheckpointLayout

_SUFFIXES = frozenset({".json", ".safetensors", ".bin", ".model"})
_BLOCK_BYTES = 1 << 20


def weights_digest(layout: CheckpointLayout, cache: DigestCache | None = None) -> str:
    """SHA-256 in hex over every file that a checkpoint's models are made of.

    The weights of all stages, their configurations and the settings beside them are in it, whoever
    asks: so a gateway can compare workers of different roles. Where the folder lies and what else
    is in it (cards, pictures) does not matter. Reads everything once; the interpreter stays free
    meanwhile.

    Args:
        layout: of the checkpoint.
        cache: of digests; files that are in it as they are now are not read again.

    Raises:
        OSError: a file that cannot be read.
    """
    files = sorted(_files(layout))
    stamps = _stamps(files)
    if cache is not None and (known := cache.find(stamps)) is not None:
        return known
    named = hashlib.sha256()
    for name, path in files:
        named.update(f"{name}/{path.stat().st_size}/".encode())
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                named.update(block)
    digest = named.hexdigest()
    # What changed while it was read has a digest of nothing that ever was.
    if cache is not None and _stamps(files) == stamps:
        cache.keep(stamps, digest)
    return digest


def _stamps(files: Sequence[tuple[str, Path]]) -> list[FileStamp]:
    return [FileStamp.of(name, path) for name, path in files]


def _files(layout: CheckpointLayout) -> Iterator[tuple[str, Path]]:
    """Each file under a name that is the same wherever the folder lies."""
    pieces = {
        "dit": layout.dit,
        "vae": layout.vae,
        "wav2vec2": layout.wav2vec2,
        "clip": layout.clip,
        "umt5": layout.umt5,
    }
    if layout.tokenizer != layout.umt5:
        pieces["tokenizer"] = layout.tokenizer
    for piece, path in pieces.items():
        if path.is_file():
            yield f"{piece}/{path.name}", path
            continue
        for file in path.iterdir():
            if file.is_file() and file.suffix in _SUFFIXES:
                yield f"{piece}/{file.name}", file
    # Steps and guidance decide over the frames as much as the weights do.
    if layout.kind == "own" and (settings := layout.dit.parent / SAMPLING_FILE).is_file():
        yield SAMPLING_FILE, settings
