"""The weights in the repository: complete, small, and a portrait that nobody trained on talks."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from flashtalk.arrays import Frames
from flashtalk.engine import Pipeline, load_pipeline, talk
from flashtalk.engine.load import shipped_weights
from training.data.synthtalk import SynthTalkConfig, Utterance, make_utterance
from training.evaluate.quick import quick_lip_corr

MAX_BYTES = 50_000_000
PACKET_SAMPLES = 3_200
CONFIG = SynthTalkConfig(size_hw=(96, 96), split="test", count=3, seconds=5.0, long_silences=False)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline()


@cache
def utterance(index: int) -> Utterance:
    return make_utterance(CONFIG, index)


def packets(pcm_S: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
    for start in range(0, len(pcm_S), PACKET_SAMPLES):
        yield pcm_S[start : start + PACKET_SAMPLES]


def perform(pipeline: Pipeline, index: int, speech: int) -> Frames:
    portrait = utterance(index).render(0, 1, CONFIG.size_hw)[0]
    chunks = talk(pipeline, portrait, packets(utterance(speech).pcm_16k), size_hw=CONFIG.size_hw)
    return np.concatenate([chunk.frames_THWC for chunk in chunks])


@pytest.fixture(scope="module")
def own(pipeline: Pipeline) -> list[Frames]:
    """Every portrait with its own speech."""
    return [perform(pipeline, i, i) for i in range(CONFIG.count)]


def test_the_folder_is_small_and_has_a_card() -> None:
    folder = shipped_weights()
    assert sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) < MAX_BYTES
    assert (folder / "README.md").is_file()


def test_lips_follow_the_speech_and_no_other(pipeline: Pipeline, own: list[Frames]) -> None:
    tracks = np.concatenate([utterance(i).tracks for i in range(CONFIG.count)])
    together = np.concatenate(own)
    assert together.shape == (CONFIG.count * CONFIG.frames, *CONFIG.size_hw, 3)
    assert quick_lip_corr(together, tracks) > 0.7

    foreign = [perform(pipeline, i, (i + 1) % CONFIG.count) for i in range(CONFIG.count)]
    assert abs(quick_lip_corr(np.concatenate(foreign), tracks)) < 0.35


def test_it_stays_the_person_of_the_portrait(own: list[Frames]) -> None:
    portraits = [utterance(i).render(0, 1, CONFIG.size_hw)[0] for i in range(CONFIG.count)]
    for i, video in enumerate(own):
        last = video[-28:].astype(np.float32).mean(0)
        distance = [np.square(last - p.astype(np.float32)).mean() for p in portraits]
        assert int(np.argmin(distance)) == i
