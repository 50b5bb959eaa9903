"""Speakers: languages and espeak voice variants, disjoint between the splits."""

import numpy as np

from training.data.synthtalk.speech import Voice

# espeak voices per language, and the odds of the language.
LANGUAGES: dict[str, tuple[tuple[str, ...], float]] = {
    "en": (("en", "en-us"), 0.6),
    "zh": (("cmn-latn-pinyin",), 0.19),
    "de": (("de",), 0.07),
    "es": (("es",), 0.07),
    "fr": (("fr",), 0.07),
}
VARIANTS: dict[str, tuple[str, ...]] = {
    "train": ("m1", "m2", "m3", "m4", "m5", "f1", "f2", "f3"),
    "val": ("m6", "f4"),
    "test": ("m7", "f5"),
}
_RATE_WPM = (130, 210)


def draw_language(rng: np.random.Generator) -> str:
    """Draws a language by its weight."""
    weights = np.array([weight for _, weight in LANGUAGES.values()])
    return str(rng.choice(list(LANGUAGES), p=weights / weights.sum()))


def draw_voice(rng: np.random.Generator, language: str, split: str) -> Voice:
    """Draws a speaker of a language whose variant belongs to the split."""
    names = LANGUAGES[language][0]
    variants = VARIANTS[split]
    name = names[int(rng.integers(len(names)))]
    variant = variants[int(rng.integers(len(variants)))]
    return Voice(
        name=f"{name}+{variant}",
        rate_wpm=int(rng.integers(_RATE_WPM[0], _RATE_WPM[1] + 1)),
        pitch=int(rng.integers(30, 71)),
        pitch_spread=int(rng.integers(35, 76)),
    )


def voice_kind(voice: Voice) -> str:
    """Returns ``man`` or ``woman``, by the variant's letter."""
    return "woman" if voice.name.rsplit("+", 1)[-1].startswith("f") else "man"
