"""A rendered split of SynthTalk whose speech is a hum; made in well under a second."""

from pathlib import Path

import numpy as np

from training.data.synthtalk import SynthTalk, SynthTalkConfig, build_cache
from training.data.synthtalk.speech import Phoneme, Speech, Voice

_SYLLABLE_S = 0.2


def _hum(text: str, voice: Voice) -> Speech:
    """Open vowels that swell between closed lips."""
    syllables = 4 + len(text) % 5
    time_s = np.arange(int(syllables * _SYLLABLE_S * 16_000)) / 16_000
    swell = np.abs(np.sin(np.pi * time_s / _SYLLABLE_S))
    pcm = 0.3 * swell * np.sin(2 * np.pi * (100 + voice.pitch) * time_s)
    phonemes = [
        Phoneme(ipa, (place + part / 2) * _SYLLABLE_S)
        for place in range(syllables)
        for part, ipa in enumerate("ma")
    ]
    return Speech(pcm.astype(np.float32), tuple(phonemes))


def render_split(data_dir: Path, split: str, count: int = 2, seconds: float = 4.0) -> SynthTalk:
    """Renders a split of 32x32 frames into ``data_dir/split`` and opens it."""
    config = SynthTalkConfig(split=split, count=count, seconds=seconds, size_hw=(32, 32))
    build_cache(config, data_dir / split, speak=_hum, show_progress=False)
    return SynthTalk(data_dir / split)
