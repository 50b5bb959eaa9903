"""Stage 1 clips, references, the latent cache and its batches."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from flashtalk.errors import InputError
from flashtalk.models.wav2vec2.loudness import prepare_pcm, unit_variance
from flashtalk.streaming.spec import StreamSpec
from tests.unit.training.tiny_split import render_split
from training.data.mouth_focus import mouth_positions
from training.data.speech import Augment, labels_ending_at, spoil, window_ending_at
from training.data.stage1_batch import ClipOdds, Stage1Picks, Stage1Sampler
from training.data.stage1_cache import Encoders, Stage1Cache, build_stage1_cache
from training.data.stage1_clips import (
    ClipPlan,
    clip_frame_rows,
    clip_starts,
    reference_choices,
)
from training.data.synthtalk import SynthTalk, mouth_box

SPEC = StreamSpec()
PLAN = ClipPlan(spread=3)


def fake_encoders(calls: list[int] | None = None, digest: str = "a") -> Encoders:
    """Encoders whose outputs say what went in."""

    def video(video_BCTHW: Tensor) -> Tensor:
        if calls is not None:
            calls.append(len(video_BCTHW))
        # Every fourth frame, averaged over space, in all 16 channels of a 2x2 latent.
        mean = video_BCTHW[:, :1, ::4].mean((3, 4), keepdim=True)
        return mean.expand(-1, 16, -1, 2, 2)

    def image(image_BCHW: Tensor) -> Tensor:
        return image_BCHW.mean((1, 2, 3))[:, None, None].expand(-1, 17, 8)

    def speech(pcm_BS: Tensor, frames: int) -> Tensor:
        power = pcm_BS.unflatten(1, (frames, -1)).square().mean(2)
        features: Tensor = power[:, :, None, None].expand(-1, -1, 4, 6)
        return features

    return Encoders(video, image, speech, digest)


@pytest.fixture
def split(tmp_path: Path) -> SynthTalk:
    return render_split(tmp_path, "train", count=2)


@pytest.fixture
def cache(split: SynthTalk, tmp_path: Path) -> Stage1Cache:
    return build_stage1_cache(split, fake_encoders(), PLAN, tmp_path / "cache", SPEC)


@pytest.mark.parametrize("total", [100, 134, 200, 1500])
@pytest.mark.parametrize("spread", [2, 3, 7, 12])
def test_every_clip_lies_inside_and_has_a_reference_outside_itself(total: int, spread: int) -> None:
    for utterance in range(20):
        starts = clip_starts(ClipPlan(spread), utterance, total, SPEC)
        assert len(starts) == spread + 1
        assert starts[0] == -SPEC.motion_frames
        assert (starts[1:] >= 0).all()
        assert (starts[1:] + SPEC.chunk_frames <= total).all()
        for place in range(1, len(starts)):
            choices = reference_choices(starts, place, SPEC)
            frames = np.maximum(starts[choices], 0)
            first = starts[place]
            assert len(choices)
            assert ((frames < first) | (frames >= first + SPEC.chunk_frames)).all()


def test_references_are_a_second_away_where_the_video_allows_it() -> None:
    starts = np.array([0, 20, 60, 100, 150])
    assert reference_choices(starts, 2, SPEC).tolist() == [0, 1, 4]  # 100 is 8 frames away
    assert reference_choices(np.array([0, 10, 40]), 2, SPEC).tolist() == [0, 1]
    assert reference_choices(np.array([10, 11]), 1, SPEC).tolist() == [0]


def test_clips_do_not_depend_on_other_utterances_and_differ_between_them() -> None:
    first, second = (clip_starts(ClipPlan(6), u, 200, SPEC).tolist() for u in (0, 1))
    assert first == clip_starts(ClipPlan(6), 0, 200, SPEC).tolist()
    assert first != second


def test_a_video_without_room_for_a_reference_is_refused() -> None:
    with pytest.raises(InputError, match="frames"):
        clip_starts(ClipPlan(3), 0, 50, SPEC)


def test_the_lead_in_holds_the_first_frame_before_the_video() -> None:
    rows = clip_frame_rows(-5, SPEC)
    assert rows.tolist() == [0] * 5 + list(range(28))


def test_windows_end_at_the_frame_and_are_silent_before_the_start() -> None:
    pcm = np.arange(1, 100 * 640 + 1, dtype=np.float32)
    window = window_ending_at(pcm, 30, SPEC)
    assert len(window) == 128_000
    assert window[-1] == 30 * 640
    assert np.count_nonzero(window) == 30 * 640
    assert window_ending_at(np.ones(300 * 640, np.float32), 300, SPEC).all()
    labels = labels_ending_at(np.arange(10), 4, 6, np.array(-1))
    assert labels.tolist() == [-1, -1, 0, 1, 2, 3]


@pytest.mark.parametrize("gain", [0.01, 3.0])
def test_unit_variance_alone_equals_the_loudness_correction_before_it(gain: float) -> None:
    pcm = gain * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    # What keeps a division from zero, 1e-7, is half of 0.1 % of the quieter one's variance of 1e-4.
    np.testing.assert_allclose(unit_variance(pcm), prepare_pcm(pcm), rtol=1e-3, atol=1e-5)


def test_cached_rows_are_what_the_encoders_say_about_the_clip(
    split: SynthTalk, cache: Stage1Cache
) -> None:
    for clip in range(len(cache)):
        utterance, place = divmod(clip, PLAN.per_utterance)
        start = int(cache.starts_of(utterance)[place])
        whole = split.clip(utterance, 0, split.config.frames)
        frames = torch.from_numpy(whole.frames[clip_frame_rows(start, SPEC)]).float()
        mean_T = frames[..., 0].mean((1, 2)) / 127.5 - 1
        latents = cache.tensor("latents", [clip])[0]
        assert torch.allclose(latents[0, :, 0, 0], mean_T[::4], atol=1e-3)
        reference = cache.tensor("reference", [clip])[0]
        assert reference[0, 0, 0, 0] == pytest.approx(float(mean_T[0]), abs=1e-3)
        assert (reference[:, 1:] == 0).all()
        silent = (whole.phoneme_ids[clip_frame_rows(start, SPEC)] == 0).mean()
        assert cache.arrays["silent"][clip] == pytest.approx(silent)


def test_a_killed_cache_build_encodes_only_what_is_missing(
    split: SynthTalk, tmp_path: Path
) -> None:
    class PowerCut(Exception):
        pass

    calls: list[int] = []
    working = fake_encoders(calls)

    def dying(video_BCTHW: Tensor) -> Tensor:
        if len(calls) >= 4:
            raise PowerCut
        return working.video(video_BCTHW)

    broken = Encoders(dying, working.image, working.speech, "a")
    with pytest.raises(PowerCut):
        build_stage1_cache(split, broken, PLAN, tmp_path / "broken", SPEC)
    calls.clear()
    resumed = build_stage1_cache(split, working, PLAN, tmp_path / "broken", SPEC)
    assert len(calls) == 2  # clips and references of the second utterance only
    calls.clear()
    again = build_stage1_cache(split, working, PLAN, tmp_path / "broken", SPEC)
    assert calls == []
    whole = build_stage1_cache(split, fake_encoders(), PLAN, tmp_path / "whole", SPEC)
    for name, values in whole.arrays.items():
        assert np.array_equal(values, resumed.arrays[name])
        assert np.array_equal(values, again.arrays[name])


def test_other_weights_or_another_plan_get_a_cache_of_their_own(
    split: SynthTalk, tmp_path: Path
) -> None:
    for encoders, plan in (
        (fake_encoders(), PLAN), (fake_encoders(digest="b"), PLAN), (fake_encoders(), ClipPlan(2)),
    ):  # fmt: skip
        build_stage1_cache(split, encoders, plan, tmp_path / "cache", SPEC)
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_a_batch_obeys_the_rules_of_references(cache: Stage1Cache) -> None:
    sampler = Stage1Sampler(cache, ClipOdds(cold_start=0.4, lead_in=0.2), SPEC)
    rng = np.random.default_rng(0)
    cold = 0
    for _ in range(100):
        batch = sampler.draw(8, rng)
        assert batch.speech_BTWLD.shape == (8, 33, 5, 4, 6)
        assert batch.clip_BMD.shape == (8, 17, 8)
        first_B = batch.z_BCFHW[:, 0, 0, 0, 0]
        reference_B = batch.reference_BCFHW[:, 0, 0, 0, 0]
        assert (first_B == reference_B)[torch.from_numpy(batch.cold_B)].all()
        cold += int(batch.cold_B.sum())
    assert cold / 800 == pytest.approx(0.4, abs=0.06)


def test_audio_windows_reach_into_the_past_and_stop_at_the_end(cache: Stage1Cache) -> None:
    sampler = Stage1Sampler(cache, ClipOdds(), SPEC)
    clip = np.array([2])
    batch = sampler.batch(Stage1Picks(clip, clip, np.array([True])))
    stored = cache.tensor("speech", clip)[0]
    windows = batch.speech_BTWLD[0]
    assert torch.equal(windows[0, 0], stored[0])
    assert torch.equal(windows[0, 2], stored[2])
    assert torch.equal(windows[32, 2], stored[-1])
    assert torch.equal(windows[32, 4], stored[-1])
    assert torch.equal(windows[31, 4], stored[-1])


def test_mouth_cells_cover_the_lips_of_their_frames_and_little_else(
    split: SynthTalk, cache: Stage1Cache
) -> None:
    clips = list(range(len(cache)))
    cells = mouth_positions(split, cache, clips, SPEC)
    assert cells.shape == (len(clips), 1, 9, 4, 4)
    assert set(cells.unique().tolist()) == {0.0, 1.0}
    for clip in clips:
        utterance, place = divmod(clip, PLAN.per_utterance)
        rows = clip_frame_rows(int(cache.starts_of(utterance)[place]), SPEC)
        boxes = mouth_box(
            split.arrays["tracks"][utterance][rows], split.identity(utterance), (32, 32)
        )
        for frame, (top, left, bottom, right) in enumerate(boxes):
            shown = cells[clip, 0, (frame + 3) // 4]
            assert shown[top // 8, left // 8] == 1
            assert shown[(bottom - 1) // 8, (right - 1) // 8] == 1
    assert cells.mean() < 0.5


def spoilt(rng_seed: int, **odds: float) -> tuple[np.ndarray, np.ndarray, bool]:
    window = np.zeros(128_000, np.float32)
    window[40_000:] = np.sin(np.arange(88_000) / 20.0)
    off = {"noise": 0.0, "cut": 0.0, "silence": 0.0, "tilt": 0.0}
    augment = Augment(**{**off, **odds})  # type: ignore[arg-type]
    result, silenced = spoil(window, np.random.default_rng(rng_seed), augment, 16_000)
    return window, result, silenced


@pytest.mark.parametrize("seed", range(5))
def test_augmentation_keeps_what_has_not_been_said_yet_silent(seed: int) -> None:
    window, same, silenced = spoilt(seed)
    assert np.array_equal(window, same)
    assert not silenced
    _, noisy, _ = spoilt(seed, noise=1.0, tilt=1.0)
    assert not noisy[:40_000].any()
    assert not np.array_equal(noisy, window)
    _, cut, _ = spoilt(seed, cut=1.0)
    kept = int(np.argmax(cut != 0))
    assert np.array_equal(cut[kept:], window[kept:])
    _, silent, silenced = spoilt(seed, silence=1.0)
    assert silenced
    assert abs(np.corrcoef(silent[40_000:], window[40_000:])[0, 1]) < 0.05
