"""A rendered split of SynthTalk made without a speech synthesiser, in well under a second."""

from pathlib import Path

import numpy as np

from training.data.synthtalk import (
    TRACK_COLUMNS,
    SynthTalk,
    SynthTalkConfig,
    Utterance,
    build_cache,
    draw_identity,
)
from training.data.synthtalk.speech import Voice
from training.data.synthtalk.tracks import TRACK_INDEX


def _hum(config: SynthTalkConfig, index: int) -> Utterance:
    """A hum that comes and goes, with the lips opening along; silent at both ends."""
    rng = np.random.default_rng([index, len(config.split)])
    frames = config.frames
    beat = np.clip(np.sin(np.arange(frames) / 4.0 + index), 0.0, 1.0).astype(np.float32)
    beat[:6] = beat[-6:] = 0.0
    tracks = np.zeros((frames, len(TRACK_COLUMNS)), dtype=np.float32)
    tracks[:, TRACK_INDEX["openness"]] = beat
    tracks[:, TRACK_INDEX["width"]] = 0.5
    tracks[:, TRACK_INDEX["head_scale"]] = 1.0
    loud = np.repeat(beat, config.samples // frames)
    pcm = 0.3 * loud * np.sin(2 * np.pi * 180.0 * np.arange(config.samples) / 16_000)
    pcm = pcm + 1e-4 * rng.standard_normal(config.samples)
    return Utterance(
        pcm_16k=pcm.astype(np.float32),
        tracks=tracks,
        phoneme_ids=(beat > 0.1).astype(np.int64) * 6,
        identity=draw_identity(100 * len(config.split) + index),
        caption=f"A person number {index} hums in front of a wall.",
        text="m",
        language="en",
        voice=Voice("en"),
    )


def render_split(data_dir: Path, split: str, count: int = 2, seconds: float = 4.0) -> SynthTalk:
    """Renders a split of 32x32 frames into ``data_dir/split`` and opens it."""
    config = SynthTalkConfig(split=split, count=count, seconds=seconds, size_hw=(32, 32))
    build_cache(config, data_dir / split, make=_hum, show_progress=False)
    return SynthTalk(data_dir / split)
