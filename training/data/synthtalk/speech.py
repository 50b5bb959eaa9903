"""Speech with phoneme times, from libespeak-ng in a separate process."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from scipy.signal import resample_poly

from flashtalk.arrays import Pcm
from flashtalk.errors import FlashTalkError, InputError
from flashtalk.streaming import PCM_HZ

RATE_RANGE = (80, 450)
PITCH_RANGE = (0, 99)
LIBRARIES = ("libespeak-ng.so.1", "libespeak-ng.so", "libespeak-ng.dylib")
STOP_TIMEOUT_S = 5.0

_SERVER = Path(__file__).with_name("espeak_server.py")
_INSTALL = (
    "install it with 'apt-get install libespeak-ng1 espeak-ng-data' (macOS: 'brew install "
    "espeak-ng')"
)


class SpeechError(FlashTalkError):
    """The speech synthesiser is missing or rejected a text."""


@dataclass(frozen=True)
class Voice:
    """One speaker: an espeak voice with a variant, a rate in words per minute and a pitch."""

    name: str
    rate_wpm: int = 165
    pitch: int = 50
    pitch_spread: int = 50

    def __post_init__(self) -> None:
        if not RATE_RANGE[0] <= self.rate_wpm <= RATE_RANGE[1]:
            raise InputError("rate_wpm", self.rate_wpm, f"{RATE_RANGE[0]} .. {RATE_RANGE[1]}")
        for field in ("pitch", "pitch_spread"):
            value = getattr(self, field)
            if not PITCH_RANGE[0] <= value <= PITCH_RANGE[1]:
                raise InputError(field, value, f"{PITCH_RANGE[0]} .. {PITCH_RANGE[1]}")


@dataclass(frozen=True)
class Phoneme:
    """One espeak phoneme event; an empty ``ipa`` is a pause."""

    ipa: str
    onset_s: float


@dataclass(frozen=True)
class Speech:
    """Synthesised speech: float32 mono ``[N]`` at 16 kHz and its phonemes in time order."""

    pcm_16k: Pcm
    phonemes: tuple[Phoneme, ...]

    @property
    def seconds(self) -> float:
        return len(self.pcm_16k) / PCM_HZ


class Synthesiser:
    """The synthesiser process; equal requests give equal sound, independent of earlier ones.

    Use it as a context manager, from one thread at a time.

    Args:
        libraries: names of the shared library, tried in order.
    """

    def __init__(self, libraries: tuple[str, ...] = LIBRARIES) -> None:
        # Isolated and without site packages, which it does not need; starts in a few milliseconds.
        command = [sys.executable, "-I", "-S", str(_SERVER), *libraries]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        try:
            self._process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def speak(self, text: str, voice: Voice) -> Speech:
        """Speaks one or more sentences in the language of the voice.

        Raises:
            SpeechError: the library is missing, or does not have the voice.
            InputError: the text is empty.
        """
        if not text.strip():
            raise InputError("text", repr(text), "at least one word")
        request = {
            "text": text,
            "voice": voice.name,
            "rate_wpm": voice.rate_wpm,
            "pitch": voice.pitch,
            "pitch_spread": voice.pitch_spread,
        }
        header, sound = self._exchange(json.dumps(request).encode() + b"\n")
        if "error" in header:
            advice = f": {_INSTALL}" if header.get("missing") else ""
            raise SpeechError(f"espeak-ng: {header['error']}{advice}")
        pcm = np.frombuffer(sound, dtype="<i2").astype(np.float32) / np.float32(32768.0)
        divisor = int(np.gcd(int(header["pcm_hz"]), PCM_HZ))
        resampled = resample_poly(pcm, PCM_HZ // divisor, int(header["pcm_hz"]) // divisor)
        phonemes = tuple(Phoneme(str(ipa), ms / 1000.0) for ipa, ms in header["phonemes"])
        return Speech(np.asarray(resampled, dtype=np.float32), phonemes)

    def _exchange(self, request: bytes) -> tuple[dict[str, Any], bytes]:
        requests, replies = self._process.stdin, self._process.stdout
        if requests is None or replies is None or requests.closed:
            raise SpeechError("espeak-ng: the synthesiser is closed")
        try:
            requests.write(request)
            requests.flush()
        except BrokenPipeError:
            pass  # it ended early; its remaining output gives the reason
        line = replies.readline()
        if not line:
            raise SpeechError(f"espeak-ng: the synthesiser ended without a response; {_INSTALL}")
        header: dict[str, Any] = json.loads(line)
        sound = replies.read(2 * int(header.get("samples", 0)))
        return header, sound


def synthesise(text: str, voice: Voice) -> Speech:
    """Speaks one text with a new ``Synthesiser``; for many texts, create one yourself."""
    with Synthesiser() as synthesiser:
        return synthesiser.speak(text, voice)
