"""Inputs that nobody should give a command: files, words, surroundings; the same on every machine.

Every generator takes a ``random.Random``: one seed, one input.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.fakes.sound_files import tone, wav

NUMBERS = (
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "-0",
    "1e400",
    "-1e-400",
    "9" * 30,
    "9" * 5_000,
    "0x10",
    "½",
    "²",
    "",
    " ",
    "--1",
    "1,5",
    "1e3x",
    "None",
    "true",
    "1/0",
    "\n",
    "\t7q",
    "7\n8",
    "\udcff",
    "٣x",
)
SIZES = (
    "0x0",
    "99999x99999",
    "16x",
    "x16",
    "16x16x16",
    "-16x16",
    "1e2x16",
    "33x32",
    "nanxnan",
    "16*16",
    "4112x16",
    "1x1",
    "x",
    "",
    " ",
    "large",
    "16x16\n16",
    "\uff19\uff19x16",
    "\udcffx16",
)
TEXTS = ("\udcff\udcfe", "\ud800", "x" * 100_000)
NAMES = (
    "none",
    "",
    ".",
    "/",
    "~",
    "-x",
    "no such folder/file",
    "file:///etc",
    "http://127.0.0.1:9/a.wav",
    "concat:a|b",
    "a\0b",
    "a\nb",
    "\x1b[31mred",
    "\udcff\udcfe",
    "\u202eevil",
    "\N{PILE OF POO}",
    "n" * 300,
    "d/" * 3_000,
    "%s%n{0}",
    "nul\r",
    "/dev/null",
    "/dev/full",
    "/proc/self/mem",
    "CON",
    "/proc/self/environ",
    "/dev/null/x",
)
SURROUNDINGS = (
    {"COLUMNS": "1"},
    {"COLUMNS": "0"},
    {"COLUMNS": "²"},
    {"COLUMNS": "-5"},
    {"COLUMNS": "9" * 20},
    {"COLUMNS": "", "LINES": "x"},
    {"LINES": "²"},
    {"TERM": "dumb"},
    {"TERM": ""},
    {"TERM": "no such terminal"},
    {"NO_COLOR": "1"},
    {"FORCE_COLOR": "1"},
    {"HOME": None},
    {"HOME": "/no such home"},
    {"TMPDIR": "/no such folder"},
    {"LC_ALL": "C", "LANG": None},
    {"LC_ALL": "no_SUCH.locale"},
    {"XDG_CACHE_HOME": "/dev/null"},
    {"PATH": None},
    {"TZ": "\udcff"},
)
"""Changes of the environment; None takes a variable away."""


@dataclass(frozen=True)
class Files:
    """A folder with good files and every kind of bad one.

    Attributes:
        image, audio: good ones.
        out: a place for a video.
        bad: files that are neither a picture nor sound, nor a place for a video.
    """

    folder: Path
    image: Path
    audio: Path
    out: Path
    bad: tuple[Path, ...]

    @classmethod
    def make(cls, folder: Path) -> Files:
        """Fills a folder."""
        pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "face.png")
        wav(folder / "speech.wav", tone(0.5, 16_000)[0])
        (folder / "empty").write_bytes(b"")
        (folder / "text").write_text("hello " * 99)
        (folder / "zeros").write_bytes(bytes(5_000))
        (folder / "sub").mkdir()
        (folder / "sub.mp4").mkdir()
        (folder / "broken").symlink_to("nowhere")
        (folder / "loop.mp4").symlink_to("loop.mp4")
        os.mkfifo(folder / "fifo")
        os.mkfifo(folder / "fifo.mp4")
        with socket.socket(socket.AF_UNIX) as listener:
            here = os.open(folder, os.O_RDONLY)
            # Names of sockets are short.
            listener.bind(f"/proc/self/fd/{here}/socket")
            os.close(here)
        bad = tuple(sorted(set(folder.iterdir()) - {folder / "face.png", folder / "speech.wav"}))
        return cls(folder, folder / "face.png", folder / "speech.wav", folder / "out.mp4", bad)

    def damaged(self, draw: random.Random, source: Path) -> Path:
        """A good file with some bytes changed, cut off or doubled; may still be good."""
        data = bytearray(source.read_bytes())
        for _ in range(draw.choice((1, 3, 30))):
            data[draw.randrange(len(data) if draw.random() < 0.3 else 60)] = draw.randrange(256)
        if draw.random() < 0.5:
            del data[draw.randrange(len(data)) :]
        if draw.random() < 0.1:
            data *= 2
        path = self.folder / f"damaged{source.suffix}"
        path.write_bytes(bytes(data))
        return path

    def path(self, draw: random.Random, good: Path) -> str:
        """Of something that is no good file, mostly."""
        kind = draw.randrange(4)
        if kind == 0:
            return str(draw.choice(self.bad))
        if kind == 1 and good.exists():
            return str(self.damaged(draw, good))
        name = draw.choice(NAMES)
        return name if draw.random() < 0.3 else f"{self.folder}/{name}"

    def pipes(self) -> set[str]:
        """Those that would be waited for."""
        return {str(self.folder / "fifo"), str(self.folder / "fifo.mp4")}

    def left(self) -> set[str]:
        """Names of everything in the folder, but for the damaged files."""
        return {path.name for path in self.folder.iterdir() if path.stem != "damaged"}


class Stream(io.TextIOWrapper):
    """A standard stream that fails as one of the operating system's."""

    def __init__(self, error: type[OSError] | None, encoding: str = "utf-8") -> None:
        self.raw_bytes = _Raw(error)
        super().__init__(io.BufferedWriter(self.raw_bytes), encoding=encoding)  # type: ignore[type-var]

    @property
    def text(self) -> str:
        """What was written."""
        with contextlib.suppress(OSError):
            self.flush()
        return bytes(self.raw_bytes.data).decode("utf-8", "backslashreplace")


class _Raw(io.RawIOBase):
    def __init__(self, error: type[OSError] | None) -> None:
        self.data, self._error = bytearray(), error

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self._error is not None:
            raise self._error
        self.data += data
        return len(data)


class Full(OSError):
    """No space is left."""

    def __init__(self) -> None:
        super().__init__(28, "No space left on device")


class Hung(OSError):
    """The terminal is gone."""

    def __init__(self) -> None:
        super().__init__(5, "Input/output error")


class Gone(BrokenPipeError):
    """Nobody reads."""

    def __init__(self) -> None:
        super().__init__(32, "Broken pipe")


STREAMS: tuple[Callable[[], Stream | None], ...] = (
    lambda: Stream(None),
    lambda: Stream(None, "ascii"),
    lambda: Stream(Gone),
    lambda: Stream(Full),
    lambda: Stream(Hung),
    lambda: None,
)
"""What standard output may be."""
