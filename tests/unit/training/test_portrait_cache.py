"""Portraits for Stage 2: the values of Stage 1's cache, without the work for its clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flashtalk.streaming.spec import StreamSpec
from tests.unit.training.test_stage1_data import fake_encoders
from tests.unit.training.tiny_split import render_split
from training.data.portrait_cache import PORTRAIT_NAMES, build_portraits
from training.data.stage1_cache import Encoders, build_stage1_cache
from training.data.stage1_clips import ClipPlan

SPEC, PLAN = StreamSpec(), ClipPlan(spread=3)


def test_portraits_are_those_of_the_whole_cache_and_nothing_else_is_encoded(
    tmp_path: Path,
) -> None:
    split = render_split(tmp_path, "train", count=2)
    shown: list[int] = []
    given = fake_encoders()

    def video(frames: object) -> object:
        shown.append(len(frames))  # type: ignore[arg-type]
        return given.video(frames)  # type: ignore[arg-type]

    def speech(*_: object) -> object:
        raise AssertionError("no speech is needed for a portrait")

    mute = Encoders(video, given.image, speech, given.digest)  # type: ignore[arg-type]
    portraits = build_portraits(split, mute, PLAN, tmp_path / "cache", SPEC)
    assert set(portraits.arrays) == set(PORTRAIT_NAMES)
    # The lead-in and the first clip begin with the same frame.
    assert set(shown) == {PLAN.per_utterance - 1}
    whole = build_stage1_cache(split, given, PLAN, tmp_path / "cache", SPEC)
    for name in PORTRAIT_NAMES:
        np.testing.assert_array_equal(portraits.arrays[name], whole.arrays[name], err_msg=name)


def test_a_finished_cache_of_stage_1_serves(tmp_path: Path) -> None:
    split = render_split(tmp_path, "train", count=2)
    build_stage1_cache(split, fake_encoders(), PLAN, tmp_path / "cache", SPEC)
    calls: list[int] = []
    portraits = build_portraits(split, fake_encoders(calls), PLAN, tmp_path / "cache", SPEC)
    assert calls == []
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert len(portraits) == 2 * PLAN.per_utterance
