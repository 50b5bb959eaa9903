"""A small process around libespeak-ng: standard library only, run by its path, never imported.

The library keeps random and filter state between sentences, so the sound of a sentence would depend
on all previous ones. This process loads the library once and forks for each sentence: every
sentence starts from the same state, and equal requests give equal bytes.

Requests and replies are lines of JSON on stdin and stdout. A request holds ``text``, ``voice``,
``rate_wpm``, ``pitch`` and ``pitch_spread``; a reply holds ``error``, or ``pcm_hz``, ``samples``
and ``phonemes`` (pairs of IPA and milliseconds) and is followed by ``samples`` int16 of sound.
"""

import ctypes
import json
import os
import sys
from typing import Any, BinaryIO

SYNCHRONOUS = 2
PHONEME_EVENTS_IPA = 1 | 2
RATE, PITCH, PITCH_SPREAD = 1, 3, 4
CHARS_UTF8 = 1
POSITION_CHARACTER = 1
EVENT_END, EVENT_PHONEME = 0, 7


class EventId(ctypes.Union):
    """The value of an event; the string is the name of a phoneme."""

    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", EventId),
    )


CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event)
)


def load(names: list[str]) -> tuple[Any, int]:
    """Returns the library and its sample rate. Raises OSError if library or data are missing."""
    for name in names:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        pcm_hz = int(library.espeak_Initialize(SYNCHRONOUS, 0, None, PHONEME_EVENTS_IPA))
        if pcm_hz <= 0:
            raise OSError("the library loads but finds no voices")
        return library, pcm_hz
    raise OSError(f"none of {', '.join(names)} can be loaded")


def speak(library: Any, request: dict[str, Any]) -> tuple[list[tuple[str, int]], bytes]:
    """Returns phonemes and int16 sound of one request."""
    sound = bytearray()
    phonemes: list[tuple[str, int]] = []

    def receive(samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            sound.extend(ctypes.string_at(samples, 2 * count))
        index = 0
        while events[index].type != EVENT_END:
            event = events[index]
            if event.type == EVENT_PHONEME:
                ipa = bytes(event.id.string).decode("utf-8", "ignore")
                phonemes.append((ipa, event.audio_position_ms))
            index += 1
        return 0

    callback = CALLBACK(receive)  # kept alive until the synthesis is over
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(request["voice"].encode()) != 0:
        raise OSError(f"no voice {request['voice']!r} (see 'espeak-ng --voices')")
    library.espeak_SetParameter(RATE, request["rate_wpm"], 0)
    library.espeak_SetParameter(PITCH, request["pitch"], 0)
    library.espeak_SetParameter(PITCH_SPREAD, request["pitch_spread"], 0)
    text = request["text"].encode("utf-8")
    library.espeak_Synth(text, len(text) + 1, 0, POSITION_CHARACTER, 0, CHARS_UTF8, None, None)
    library.espeak_Synchronize()
    if not sound:
        raise OSError(f"no audio for {request['text']!r}")
    return phonemes, bytes(sound)


def reply(out: BinaryIO, header: dict[str, Any], sound: bytes = b"") -> None:
    """Writes one line of JSON and the sound."""
    out.write(json.dumps(header).encode() + b"\n" + sound)
    out.flush()


def serve(names: list[str], requests: BinaryIO, out: BinaryIO) -> None:
    """Answers requests until the input ends."""
    try:
        library, pcm_hz = load(names)
    except OSError as error:
        reply(out, {"error": str(error), "missing": True})
        return
    for line in requests:
        child = os.fork()
        if child == 0:
            try:
                phonemes, sound = speak(library, json.loads(line))
                header = {"pcm_hz": pcm_hz, "samples": len(sound) // 2, "phonemes": phonemes}
                reply(out, header, sound)
            except (OSError, KeyError, ValueError) as error:
                reply(out, {"error": str(error)})
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status != 0:
            reply(out, {"error": f"the synthesiser ended with status {status}"})


if __name__ == "__main__":
    serve(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer)
