"""Portraits for Stage 2: the values of Stage 1's cache, without the work for its clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from flashtalk.streaming.spec import StreamSpec
from tests.unit.training.test_stage1_data import fake_encoders
from tests.unit.training.tiny_split import render_split
from training.data.cache import BucketCache, VideoPlan, build_video_caches
from training.data.encode import PORTRAIT_ARRAYS, Encoders
from training.data.source.synthtalk import SynthTalkSource
from training.data.synthtalk import SynthTalk
from training.data.units import ClipPlan, StretchPlan

SPEC, CLIPS = StreamSpec(), VideoPlan(ClipPlan(spread=3), buckets=None)
STRETCHES = replace(CLIPS, stretches=StretchPlan(chunks=2))


def build(split: SynthTalk, encoders: Encoders, plan: VideoPlan, cache_dir: Path) -> BucketCache:
    """The one cache of a split."""
    (cache,) = build_video_caches(SynthTalkSource(split), encoders, plan, cache_dir, SPEC)
    return cache


def test_portraits_are_those_of_the_whole_cache_and_nothing_else_is_encoded(
    tmp_path: Path,
) -> None:
    split = render_split(tmp_path, "train", count=2)
    shown: list[tuple[int, int]] = []
    heard: list[int] = []
    given = fake_encoders()

    def video(frames_BCTHW: Tensor) -> Tensor:
        shown.append((len(frames_BCTHW), frames_BCTHW.shape[2]))
        return given.video(frames_BCTHW)

    def speech(pcm_BS: Tensor, frames: int) -> Tensor:
        heard.append(len(pcm_BS))
        return given.speech(pcm_BS, frames)

    watched = Encoders(video, given.image, speech, given.digest)
    portraits = build(split, watched, STRETCHES, tmp_path / "cache").clips
    assert set(portraits.arrays) == set(PORTRAIT_ARRAYS)
    # The lead-in and the first clip begin with the same frame; motion frames of all chunks, and
    # their speech.
    per_shot = CLIPS.clips.per_shot - 1
    assert set(shown) == {(per_shot, 33), (6, SPEC.motion_frames)}
    assert set(heard) == {6}
    whole = build(split, given, CLIPS, tmp_path / "cache").clips
    for name in PORTRAIT_ARRAYS:
        np.testing.assert_array_equal(portraits.arrays[name], whole.arrays[name], err_msg=name)


def test_a_finished_cache_of_stage_1_serves(tmp_path: Path) -> None:
    split = render_split(tmp_path, "train", count=2)
    whole = build(split, fake_encoders(), CLIPS, tmp_path / "cache").clips
    calls: list[int] = []
    portraits = build(split, fake_encoders(calls), STRETCHES, tmp_path / "cache").clips
    assert set(calls) == {6}, "motion frames of the stretches, and no portrait"
    assert len(list((tmp_path / "cache").iterdir())) == 2
    for name in PORTRAIT_ARRAYS:
        np.testing.assert_array_equal(portraits.arrays[name], whole.arrays[name], err_msg=name)
