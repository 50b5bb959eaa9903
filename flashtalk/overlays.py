"""Files merged into a folder of weights: their syntax and paths, checked without torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from flashtalk.errors import InputError

FIELD = "overlays"
MOST_STRENGTH = 100.0
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# Folders of the InfiniteTalk release. Files of both folders look like others inside.
_SEVERAL_SPEAKERS, _QUANTISED = "multi", "quant_models"


@dataclass(frozen=True)
class Overlay:
    """A file whose tensors are added to those of a folder of weights, or change them.

    Args:
        path: a safetensors or torch file.
        strength: factor of a LoRA's changes; 1 for files of plain tensors.
    """

    path: Path
    strength: float = 1.0

    @classmethod
    def parse(cls, text: str, field: str = FIELD) -> Overlay:
        """Parses ``FILE`` or ``FILE:STRENGTH``. Raises InputError without a name."""
        name, colon, end = text.rpartition(":")
        strength = _number(end) if colon else None
        if strength is None:
            name, strength = text, 1.0
        if not name.strip():
            raise InputError(field, repr(text), "FILE or FILE:STRENGTH")
        return cls(Path(name.strip()), strength)

    @property
    def name(self) -> str:
        """Returns the file's name, with the strength unless it is 1."""
        return self.path.name if self.strength == 1.0 else f"{self.path.name}:{self.strength!r}"

    def check(self, field: str = FIELD) -> None:
        """Raises InputError for a strength or a file that cannot be an overlay; reads no file.

        Args:
            field: its name in errors.
        """
        if not 0 < abs(self.strength) <= MOST_STRENGTH:  # also not a number
            limit = f"a strength other than 0, at most {MOST_STRENGTH:g} either way"
            raise InputError(field, f"{self.path}:{self.strength!r}", limit)
        try:
            there = self.path.is_file()
            beside = there and self.path.with_suffix(".json").is_file()
        except OSError as error:
            raise InputError(field, self.path, error.strerror or str(error)) from error
        if not there:
            raise InputError(field, self.path, "no such file")
        if self.path.suffix not in SUFFIXES:
            limit = f"a file of tensors ({', '.join(SUFFIXES)})"
            raise InputError(field, self.path, limit)
        # Not resolved: in a cache of downloads the names are links to files without names.
        folders = self.path.absolute().parent.parts
        if folders[-1] == _SEVERAL_SPEAKERS:
            limit = f"a file for one speaker; those in {_SEVERAL_SPEAKERS}/ need speaker masks"
            raise InputError(field, self.path, limit)
        if _QUANTISED in folders or beside:
            sign = "its .json file" if beside else f"in {_QUANTISED}/"
            raise InputError(field, self.path, f"must not be quantised ({sign})")


def parse_overlays(texts: Iterable[str], field: str = FIELD) -> tuple[Overlay, ...]:
    """Parses and checks overlays in their order.

    Args:
        texts: each ``FILE`` or ``FILE:STRENGTH``.
        field: its name in errors.

    Raises:
        InputError: a wrong strength, no such file, or a file that cannot be an overlay.
    """
    overlays = tuple(Overlay.parse(text, field) for text in texts)
    for overlay in overlays:
        overlay.check(field)
    return overlays


def split_overlays(text: str) -> tuple[str, ...]:
    """Splits a setting: ``FILE[:STRENGTH],...``; empty: none."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
