"""One utterance: speech, tracks and looks, drawn from a split, an index and a seed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flashtalk.arrays import FloatArray, Frames, IntArray
from flashtalk.errors import InputError
from flashtalk.streaming import FPS, PCM_HZ
from training.data.synthtalk.captions import caption
from training.data.synthtalk.geometry import Layout
from training.data.synthtalk.identity import draw_identity
from training.data.synthtalk.motion import SAMPLES_PER_FRAME, motion_tracks
from training.data.synthtalk.renderer import render
from training.data.synthtalk.sentences import SPLITS, draw_sentence
from training.data.synthtalk.speech import Speech, Synthesiser, Voice
from training.data.synthtalk.visemes import Segment, mouth_tracks, segments_of
from training.data.synthtalk.voices import draw_language, draw_voice, voice_kind

Speak = Callable[[str, Voice], Speech]

# Identities of the splits have disjoint seed ranges.
_SEED_RANGE = 1_000_000_000
_PAUSE_S = (0.1, 0.8)
_LONG_SILENCE_S = (1.5, 2.2)
_LONG_SILENCE_SHARE = 0.12


@dataclass(frozen=True)
class SynthTalkConfig:
    """Defines a part of the endless data set.

    Attributes:
        split: ``train``, ``val`` or ``test``.
        count: number of utterances.
        seconds: length of each, a whole number of 40 ms frames.
        size_hw: height and width of the frames in pixels.
        seed: seed of the data set (below 1000).
        long_silences: occasional 1.5 to 2.2 s without speech at the start or the end; off for
            long-video tests.
    """

    split: str = "train"
    count: int = 600
    seconds: float = 8.0
    size_hw: tuple[int, int] = (64, 64)
    seed: int = 0
    long_silences: bool = True

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise InputError("split", repr(self.split), f"one of {', '.join(SPLITS)}")
        if not 1 <= self.count < 1_000_000:
            raise InputError("count", self.count, "1 .. 999999")
        if not 0 <= self.seed < 1000:
            raise InputError("seed", self.seed, "0 .. 999")
        frames = self.seconds * FPS
        if frames < 1 or abs(frames - round(frames)) > 1e-6:
            raise InputError("seconds", self.seconds, f"a positive multiple of {1 / FPS} s")
        Layout(*self.size_hw)

    @property
    def frames(self) -> int:
        """Returns the frames per utterance."""
        return round(self.seconds * FPS)

    @property
    def samples(self) -> int:
        """Returns the 16 kHz samples per utterance."""
        return self.frames * SAMPLES_PER_FRAME


@dataclass(frozen=True)
class Utterance:
    """All data of one talking-head video except the pixels.

    Attributes:
        pcm_16k: float32 ``[frames * 640]``, mono 16 kHz in [-1, 1].
        tracks: float32 ``[frames, len(TRACK_COLUMNS)]`` at 25 fps.
        phoneme_ids: int64 ``[frames]``, index into ``PHONEME_CLASSES`` at the frame centre.
        identity: float32 ``[len(IDENTITY_COLUMNS)]``.
        caption: one English sentence.
        text: the spoken text.
        language: en, zh, de, es or fr.
        voice: the speaker.
    """

    pcm_16k: FloatArray
    tracks: FloatArray
    phoneme_ids: IntArray
    identity: FloatArray
    caption: str
    text: str
    language: str
    voice: Voice

    @property
    def frames(self) -> int:
        return int(self.tracks.shape[0])

    def render(self, first: int, count: int, size_hw: tuple[int, int]) -> Frames:
        """Renders frames ``first .. first + count - 1``, uint8 ``[count, H, W, 3]``."""
        if first < 0 or count < 1 or first + count > self.frames:
            raise InputError("first, count", (first, count), f"must be within 0 .. {self.frames}")
        return render(self.identity, self.tracks[first : first + count], size_hw)


@dataclass(frozen=True)
class _Plan:
    lead_s: float
    trail_s: float


def _plan(rng: np.random.Generator, config: SynthTalkConfig) -> _Plan:
    lead, trail = rng.uniform(0.05, 0.4), 0.0
    long_silence = rng.uniform(*_LONG_SILENCE_S)
    place = rng.uniform()
    if config.long_silences and config.seconds >= 2 * _LONG_SILENCE_S[1]:
        if place < _LONG_SILENCE_SHARE:
            lead = long_silence
        elif place < 2 * _LONG_SILENCE_SHARE:
            trail = long_silence
    return _Plan(lead, trail)


def _speak(
    rng: np.random.Generator, config: SynthTalkConfig, language: str, voice: Voice, speak: Speak
) -> tuple[FloatArray, list[Segment], str]:
    """Sentences with pauses, cut or padded to the exact length."""
    plan = _plan(rng, config)
    pcm = np.zeros(config.samples, dtype=np.float32)
    end = config.samples - int(plan.trail_s * PCM_HZ)
    cursor = int(plan.lead_s * PCM_HZ)
    segments: list[Segment] = []
    texts: list[str] = []
    while cursor < end:
        text = draw_sentence(rng, language, config.split)
        speech = speak(text, voice)
        if plan.trail_s > 0 and texts and cursor + len(speech.pcm_16k) > end:
            break  # a long silence follows a finished sentence, not a cut one
        stop = min(cursor + len(speech.pcm_16k), config.samples)
        pcm[cursor:stop] = speech.pcm_16k[: stop - cursor]
        segments += segments_of(speech.phonemes, speech.seconds, cursor / PCM_HZ)
        texts.append(text)
        cursor = stop + int(rng.uniform(*_PAUSE_S) * PCM_HZ)
    loudest = float(np.abs(pcm).max())
    if loudest > 0:
        pcm *= float(rng.uniform(0.5, 0.9)) / loudest
    return pcm, segments, " ".join(texts)


def make_utterance(config: SynthTalkConfig, index: int, speak: Speak | None = None) -> Utterance:
    """Creates utterance ``index`` of a data set, independent of the others.

    Args:
        config: the data set; ``count`` and ``size_hw`` do not change the utterance.
        index: 0-based.
        speak: a synthesiser to use for many utterances (``Synthesiser.speak``); by default one is
            started for this utterance.
    """
    if speak is None:
        with Synthesiser() as synthesiser:
            return make_utterance(config, index, synthesiser.speak)
    if not 0 <= index < config.count:
        raise InputError("index", index, f"0 .. {config.count - 1}")
    split = SPLITS.index(config.split)
    rng = np.random.Generator(np.random.Philox(key=[config.seed * 8 + split, index]))
    identity = draw_identity(split * _SEED_RANGE + config.seed * 1_000_000 + index)
    language = draw_language(rng)
    voice = draw_voice(rng, language, config.split)
    pcm, segments, text = _speak(rng, config, language, voice, speak)
    mouth, labels = mouth_tracks(segments, config.frames)
    words = caption(rng, identity, voice_kind(voice), language, voice.rate_wpm)
    tracks = motion_tracks(rng, pcm, mouth)
    return Utterance(pcm, tracks, labels, identity, words, text, language, voice)
