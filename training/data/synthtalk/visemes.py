# ruff: noqa: RUF001 - the letters of the International Phonetic Alphabet are meant
"""Converts phonemes to mouth shapes.

Ten visemes define the shapes; each phoneme may scale the opening of its viseme. Tracks are built at
100 Hz, smoothed by a Gaussian of 40 ms (coarticulation) and read at the centres of 25 fps frames.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from flashtalk.arrays import FloatArray, IntArray
from flashtalk.streaming import FPS
from training.data.synthtalk.phonemes import PHONEME_CLASSES, SILENCE, VOWELS, classes_of
from training.data.synthtalk.speech import Phoneme

TRACK_HZ = 100
# Half of the 40 ms, which is the width of the Gaussian between its two points of one deviation. A
# wider one would never let a short p, b or m close the lips.
SMOOTHING_S = 0.02
TICKS_PER_FRAME = TRACK_HZ // FPS

# (openness, width, rounding, teeth, tongue)
VISEMES: dict[str, tuple[float, float, float, float, float]] = {
    "rest": (0.0, 0.50, 0.00, 0.0, 0.0),
    "lips": (0.0, 0.45, 0.10, 0.0, 0.0),
    "lip_teeth": (0.16, 0.50, 0.00, 1.0, 0.0),
    "tongue_teeth": (0.26, 0.55, 0.00, 0.5, 1.0),
    "ridge": (0.28, 0.65, 0.00, 0.9, 0.4),
    "back": (0.36, 0.50, 0.00, 0.4, 0.1),
    "hushing": (0.30, 0.25, 0.60, 0.9, 0.1),
    "wide_open": (1.00, 0.60, 0.00, 0.3, 0.1),
    "spread": (0.55, 0.95, 0.00, 0.5, 0.3),
    "round": (0.60, 0.10, 1.00, 0.0, 0.0),
}
_MEMBERS: dict[str, str] = {
    "rest": "sil",
    "lips": "p b m",
    "lip_teeth": "f v",
    "tongue_teeth": "θ ð",
    "ridge": "t d s z n l",
    "back": "k ɡ ŋ h j",
    "hushing": "ʃ ʒ tʃ dʒ ɹ",
    "wide_open": "a ɑ æ ʌ aɪ aʊ",
    "spread": "i ɪ e ɛ ə ɜ eɪ",
    "round": "ɔ o u ʊ y ø w ɔɪ oʊ",
}
VISEME_OF: dict[str, str] = {
    phoneme: viseme for viseme, members in _MEMBERS.items() for phoneme in members.split()
}
_OPENNESS: dict[str, float] = {
    "i": 0.34,
    "ɪ": 0.42,
    "e": 0.5,
    "ɛ": 0.68,
    "ə": 0.42,
    "ɜ": 0.5,
    "eɪ": 0.58,
    "u": 0.34,
    "ʊ": 0.42,
    "y": 0.34,
    "w": 0.26,
    "o": 0.6,
    "ɔ": 0.8,
    "ø": 0.5,
    "ɔɪ": 0.75,
    "æ": 0.9,
    "ʌ": 0.75,
    "j": 0.32,
}
# Diphthongs end on the shape of another vowel for the last part of their time.
_GLIDE: dict[str, str] = {"aɪ": "ɪ", "aʊ": "ʊ", "ɔɪ": "ɪ", "eɪ": "i", "oʊ": "u"}
GLIDE_SHARE = 0.4


def mouth_shape(phoneme_class: int) -> FloatArray:
    """Target (openness, width, rounding, teeth, tongue) of a class, float32 ``[5]``."""
    name = PHONEME_CLASSES[phoneme_class]
    shape = np.array(VISEMES[VISEME_OF[name]], dtype=np.float32)
    shape[0] = _OPENNESS.get(name, shape[0])
    return shape


@dataclass(frozen=True)
class Segment:
    """One sound of an utterance; times in seconds from the utterance's start."""

    phoneme_class: int
    start_s: float
    end_s: float


def segments_of(phonemes: tuple[Phoneme, ...], end_s: float, offset_s: float) -> list[Segment]:
    """Converts phoneme events of one sentence to segments; sounds of one event share its time."""
    found: list[Segment] = []
    for event, phoneme in enumerate(phonemes):
        onset = phoneme.onset_s
        stop = phonemes[event + 1].onset_s if event + 1 < len(phonemes) else end_s
        if stop <= onset:
            continue
        # A length or syllable mark continues the sound before it; a bare pause is silence.
        classes = classes_of(phoneme.ipa) or [SILENCE]
        weights = np.array([2.0 if index in VOWELS else 1.0 for index in classes])
        edges = onset + (stop - onset) * np.concatenate([[0.0], np.cumsum(weights)]) / weights.sum()
        found += [
            Segment(index, offset_s + float(edges[place]), offset_s + float(edges[place + 1]))
            for place, index in enumerate(classes)
        ]
    return found


def mouth_tracks(segments: list[Segment], frames: int) -> tuple[FloatArray, IntArray]:
    """Mouth tracks and labels of an utterance.

    Returns:
        float32 ``[frames, 5]`` (openness, width, rounding, teeth, tongue) and int64 ``[frames]``
        phoneme classes at the frame centres; time outside every segment is silence.
    """
    ticks = frames * TICKS_PER_FRAME
    shapes = np.tile(mouth_shape(SILENCE), (ticks, 1))
    centres = (np.arange(ticks) + 0.5) / TRACK_HZ
    labels = np.full(frames, SILENCE, dtype=np.int64)
    frame_centres = (np.arange(frames) + 0.5) / FPS
    for segment in segments:
        first, last = np.searchsorted(centres, (segment.start_s, segment.end_s))
        shapes[first:last] = mouth_shape(segment.phoneme_class)
        glide = _GLIDE.get(PHONEME_CLASSES[segment.phoneme_class])
        if glide is not None:
            turn = last - int((last - first) * GLIDE_SHARE)
            shapes[turn:last] = mouth_shape(PHONEME_CLASSES.index(glide))
        first, last = np.searchsorted(frame_centres, (segment.start_s, segment.end_s))
        labels[first:last] = segment.phoneme_class
    smooth = gaussian_filter1d(shapes, SMOOTHING_S * TRACK_HZ, axis=0, mode="nearest")
    # A frame centre is between two ticks: their mean.
    middle = np.arange(frames) * TICKS_PER_FRAME + TICKS_PER_FRAME // 2
    tracks = 0.5 * (smooth[middle - 1] + smooth[middle])
    return tracks.astype(np.float32), labels
