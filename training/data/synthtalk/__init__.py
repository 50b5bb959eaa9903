"""SynthTalk: a procedural talking-head data set (speech, tracks, identities, renderer, cache)."""

from training.data.synthtalk.cache import SynthTalk, build_cache
from training.data.synthtalk.identity import IDENTITY_COLUMNS, draw_identity
from training.data.synthtalk.phonemes import PHONEME_CLASSES
from training.data.synthtalk.regions import background_mask, mouth_box
from training.data.synthtalk.renderer import render
from training.data.synthtalk.tracks import TRACK_COLUMNS
from training.data.synthtalk.utterance import SynthTalkConfig, Utterance, make_utterance

__all__ = [
    "IDENTITY_COLUMNS",
    "PHONEME_CLASSES",
    "TRACK_COLUMNS",
    "SynthTalk",
    "SynthTalkConfig",
    "Utterance",
    "background_mask",
    "build_cache",
    "draw_identity",
    "make_utterance",
    "mouth_box",
    "render",
]
