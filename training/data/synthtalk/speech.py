"""Speech with phoneme times, by libespeak-ng through ctypes.

The library keeps one global voice and one global callback: use it from one thread of one process.
"""

import ctypes
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from flashtalk.errors import FlashTalkError, InputError

PCM_HZ = 16000
RATE_RANGE = (80, 450)
PITCH_RANGE = (0, 99)

_LIBRARIES = ("libespeak-ng.so.1", "libespeak-ng.so", "libespeak-ng.dylib")
_SYNCHRONOUS = 2
_PHONEME_EVENTS_IPA = 1 | 2
_RATE, _PITCH, _PITCH_SPREAD = 1, 3, 4
_CHARS_UTF8 = 1
_EVENT_END, _EVENT_PHONEME = 0, 7
_POSITION_CHARACTER = 1


class SpeechError(FlashTalkError):
    """The speech synthesiser is missing or refused a text."""


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


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
        if not PITCH_RANGE[0] <= self.pitch <= PITCH_RANGE[1]:
            raise InputError("pitch", self.pitch, f"{PITCH_RANGE[0]} .. {PITCH_RANGE[1]}")


@dataclass(frozen=True)
class Phoneme:
    """One espeak phoneme event; an empty ``ipa`` is a pause."""

    ipa: str
    onset_s: float


@dataclass(frozen=True)
class Speech:
    """Synthesised speech: float32 mono ``[N]`` at 16 kHz and its phonemes in time order."""

    pcm_16k: npt.NDArray[np.float32]
    phonemes: tuple[Phoneme, ...]

    @property
    def seconds(self) -> float:
        return len(self.pcm_16k) / PCM_HZ


def load_library(names: tuple[str, ...] = _LIBRARIES) -> Any:
    """The first of the shared libraries that loads.

    Raises:
        SpeechError: none of them is installed.
    """
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise SpeechError(
        f"none of {', '.join(names)} can be loaded: install the speech synthesiser with "
        "'apt-get install libespeak-ng1 espeak-ng-data' (macOS: 'brew install espeak-ng')"
    )


@lru_cache(maxsize=1)
def _initialised() -> tuple[Any, int]:
    """The library and its sample rate; espeak can be initialised once per process only."""
    library = load_library()
    pcm_hz = int(library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS_IPA))
    if pcm_hz <= 0:
        raise SpeechError("espeak-ng finds no data: install the apt package espeak-ng-data")
    return library, pcm_hz


def _read_events(events: Any) -> list[Phoneme]:
    found: list[Phoneme] = []
    index = 0
    while events[index].type != _EVENT_END:
        event = events[index]
        if event.type == _EVENT_PHONEME:
            ipa = bytes(event.id.string).split(b"\0")[0].decode("utf-8", "ignore")
            found.append(Phoneme(ipa, event.audio_position_ms / 1000.0))
        index += 1
    return found


def synthesise(text: str, voice: Voice) -> Speech:
    """Speak a text.

    Args:
        text: one or more sentences in the language of the voice.
        voice: the speaker.

    Raises:
        SpeechError: the library is missing, or does not know the voice.
        InputError: the text is empty.
    """
    if not text.strip():
        raise InputError("text", repr(text), "at least one word")
    library, source_hz = _initialised()
    if library.espeak_SetVoiceByName(voice.name.encode()) != 0:
        raise SpeechError(f"espeak-ng has no voice {voice.name!r} (see 'espeak-ng --voices')")
    blocks: list[npt.NDArray[np.int16]] = []
    phonemes: list[Phoneme] = []

    def receive(samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        phonemes.extend(_read_events(events))
        return 0

    callback = _CALLBACK(receive)  # referenced until the synthesis is over
    library.espeak_SetSynthCallback(callback)
    for parameter, value in (
        (_RATE, voice.rate_wpm), (_PITCH, voice.pitch), (_PITCH_SPREAD, voice.pitch_spread),
    ):  # fmt: skip
        library.espeak_SetParameter(parameter, value, 0)
    encoded = text.encode("utf-8")
    library.espeak_Synth(
        encoded, len(encoded) + 1, 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
    )
    library.espeak_Synchronize()
    if not blocks:
        raise SpeechError(f"espeak-ng returned no sound for {text!r}")
    pcm = np.concatenate(blocks).astype(np.float32) / 32768.0
    divisor = int(np.gcd(source_hz, PCM_HZ))
    resampled = resample_poly(pcm, PCM_HZ // divisor, source_hz // divisor)
    return Speech(np.asarray(resampled, dtype=np.float32), tuple(phonemes))
