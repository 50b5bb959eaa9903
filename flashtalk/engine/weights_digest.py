"""One digest of all weights of a checkpoint: workers with equal digests make equal chunks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from flashtalk.engine.digest_cache import DigestCache, FileStamp

_SUFFIXES = frozenset({".json", ".safetensors", ".bin", ".model"})
_BLOCK_BYTES = 1 << 20


def weights_digest(pieces: Mapping[str, Path], cache: DigestCache | None = None) -> str:
    """Returns SHA-256 in hex over all files of a checkpoint's models.

    It includes the weights of all stages, their configurations and their settings, independent of
    the caller's role, so that a gateway can compare workers of different roles. The folder's path
    and other files in it (cards, pictures) do not matter. Reads everything once, without holding
    the interpreter lock.

    Args:
        pieces: file or folder of each model (``Checkpoint.pieces``).
        cache: of digests; unchanged files that are in it are not read again.

    Raises:
        OSError: a file that cannot be read.
    """
    files = sorted(piece_files(pieces))
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
    # The digest of files that changed while they were read is not cached.
    if cache is not None and _stamps(files) == stamps:
        cache.keep(stamps, digest)
    return digest


def _stamps(files: Sequence[tuple[str, Path]]) -> list[FileStamp]:
    return [FileStamp.of(name, path) for name, path in files]


def piece_files(pieces: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    """Yields each file of the digest with a name that is independent of the folder's path."""
    for piece, path in pieces.items():
        if path.is_file():
            yield f"{piece}/{path.name}".removeprefix("/"), path
            continue
        for file in path.iterdir():
            if file.is_file() and file.suffix in _SUFFIXES:
                yield f"{piece}/{file.name}", file
