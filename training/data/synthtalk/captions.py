"""Captions of an utterance: its picture and its speech, from eight templates."""

import colorsys

import numpy as np

from flashtalk.arrays import FloatArray
from training.data.synthtalk.identity import IDENTITY_INDEX

TEMPLATES: tuple[str, ...] = (
    "A {kind} with {hair} in a {shirt} shirt speaks {language} in front of a {wall} wall.",
    "Talking head: {kind}, {hair}, {shirt} shirt, {wall} background, {language} speech.",
    "In front of a {wall} wall a {kind} with {hair} talks {pace} in {language}.",
    "A {kind} wearing {shirt} and with {hair} talks to the camera {pace}, hands moving.",
    "The {kind} in the {shirt} shirt says something in {language}. The wall is {wall}.",
    "Portrait of a {kind} with {hair}, speaking {pace}; the background is {wall}.",
    "{hair} and a {shirt} shirt: a {kind} is talking in a {wall} room.",
    "A {wall} room. A {kind} with {hair} is speaking {language} {pace}.",
)
_LANGUAGE_NAMES = {
    "en": "English",
    "zh": "Mandarin",
    "de": "German",
    "es": "Spanish",
    "fr": "French",
}
_HUES = (
    (0.04, "red"),
    (0.11, "orange"),
    (0.19, "yellow"),
    (0.45, "green"),
    (0.54, "teal"),
    (0.72, "blue"),
    (0.85, "purple"),
    (0.95, "pink"),
    (1.01, "red"),
)


def colour_word(rgb: FloatArray) -> str:
    """An everyday name of a colour ``[3]``."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(float(channel) for channel in rgb))
    if value < 0.22:
        return "black"
    if saturation < 0.13:
        return "white" if value > 0.85 else "grey"
    word = next(name for limit, name in _HUES if hue <= limit)
    if word == "orange" and value < 0.65:
        return "brown"
    return f"dark {word}" if value < 0.45 else word


def _part(identity: FloatArray, name: str) -> str:
    first = IDENTITY_INDEX[f"{name}_red"]
    return colour_word(identity[first : first + 3])


def caption(
    rng: np.random.Generator, identity: FloatArray, kind: str, language: str, rate_wpm: int
) -> str:
    """Returns one sentence about an utterance; ``kind`` is ``man`` or ``woman``."""
    length = float(identity[IDENTITY_INDEX["hair_length"]])
    style = "short" if length < 0.4 else "long" if length > 0.7 else "chin-length"
    text = TEMPLATES[int(rng.integers(len(TEMPLATES)))].format(
        kind=kind,
        hair=f"{style} {_part(identity, 'hair')} hair",
        shirt=_part(identity, "shirt"),
        wall=_part(identity, "wall_top"),
        language=_LANGUAGE_NAMES[language],
        pace="slowly" if rate_wpm < 155 else "quickly" if rate_wpm > 185 else "calmly",
    )
    return text[0].upper() + text[1:]
