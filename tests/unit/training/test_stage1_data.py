"""Stage 1 clips, references, the latent cache and its batches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from flashtalk.errors import InputError
from flashtalk.models.wav2vec2.loudness import prepare_pcm, unit_variance
from flashtalk.streaming.spec import StreamSpec
from tests.unit.training.tiny_split import render_split
from training.data.batch import Picks
from training.data.cache import BucketCache, VideoPlan, build_video_caches
from training.data.encode import Encoders
from training.data.mouth import mouth_cells
from training.data.sampler import ClipOdds, Stage1Sampler
from training.data.source.synthtalk import SynthTalkSource
from training.data.speech import Augment, augmented, labels_ending_at, window_ending_at
from training.data.synthtalk import SynthTalk, mouth_box
from training.data.units import ClipPlan, clip_frames, clip_starts, references_outside

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


def build(
    split: SynthTalk, encoders: Encoders, cache_dir: Path, plan: ClipPlan = PLAN
) -> BucketCache:
    """The one cache of a split."""
    videos = VideoPlan(plan, buckets=None)
    (cache,) = build_video_caches(SynthTalkSource(split), encoders, videos, cache_dir, SPEC)
    return cache


@pytest.fixture
def cache(split: SynthTalk, tmp_path: Path) -> BucketCache:
    return build(split, fake_encoders(), tmp_path / "cache")


@pytest.mark.parametrize("total", [100, 134, 200, 1500])
@pytest.mark.parametrize("spread", [2, 3, 7, 12])
def test_every_clip_lies_inside_and_has_a_reference_outside_itself(total: int, spread: int) -> None:
    for shot in range(20):
        starts = clip_starts(ClipPlan(spread), shot, total, SPEC)
        assert len(starts) == spread + 1
        assert starts[0] == -SPEC.motion_frames
        assert (starts[1:] >= 0).all()
        assert (starts[1:] + SPEC.chunk_frames <= total).all()
        for place in range(1, len(starts)):
            choices = references_outside(starts, int(starts[place]), SPEC)
            frames = np.maximum(starts[choices], 0)
            first = starts[place]
            assert len(choices)
            assert ((frames < first) | (frames >= first + SPEC.chunk_frames)).all()


def test_references_are_a_second_away_where_the_video_allows_it() -> None:
    starts = np.array([0, 20, 60, 100, 150])
    assert references_outside(starts, 60, SPEC).tolist() == [0, 1, 4]  # 100 is 8 frames away
    assert references_outside(np.array([0, 10, 40]), 40, SPEC).tolist() == [0, 1]
    assert references_outside(np.array([10, 11]), 11, SPEC).tolist() == [0]


@given(st.data())
def test_a_reference_is_outside_and_at_a_distance_if_it_can_be(data: st.DataObject) -> None:
    total = data.draw(st.integers(2, 400))
    starts = np.array(sorted(data.draw(st.sets(st.integers(0, total - 1), min_size=2))))
    first = data.draw(st.integers(-SPEC.motion_frames, total - 1))
    end = first + SPEC.chunk_frames
    chosen = starts[references_outside(starts, first, SPEC)]
    assert not ((chosen >= max(first, 0)) & (chosen < end)).any()
    distances = np.where(starts < first, first - starts, starts - (end - 1))
    outside = (starts < max(first, 0)) | (starts >= end)
    near = outside & (distances >= 25) & (distances <= 250)
    assert chosen.tolist() == starts[near if near.any() else outside].tolist()


def test_clips_do_not_depend_on_other_utterances_and_differ_between_them() -> None:
    first, second = (clip_starts(ClipPlan(6), u, 200, SPEC).tolist() for u in (0, 1))
    assert first == clip_starts(ClipPlan(6), 0, 200, SPEC).tolist()
    assert first != second


def test_a_video_without_room_for_a_reference_is_refused() -> None:
    with pytest.raises(InputError, match="frames"):
        clip_starts(ClipPlan(3), 0, 50, SPEC)


def test_the_lead_in_holds_the_first_frame_before_the_video() -> None:
    frames = clip_frames(-5, SPEC)
    assert frames.tolist() == [0] * 5 + list(range(28))


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
    split: SynthTalk, cache: BucketCache
) -> None:
    rows = cache.clips
    for row in range(len(rows)):
        shot, place = divmod(row, PLAN.per_shot)
        start = int(rows.starts_of(shot)[place])
        whole = split.clip(shot, 0, split.config.frames)
        frames = torch.from_numpy(whole.frames[clip_frames(start, SPEC)]).float()
        mean_T = frames[..., 0].mean((1, 2)) / 127.5 - 1
        latents = rows.tensor("latents", [row])[0]
        assert torch.allclose(latents[0, :, 0, 0], mean_T[::4], atol=1e-3)
        reference = rows.tensor("reference", [row])[0]
        assert reference[0, 0, 0, 0] == pytest.approx(float(mean_T[0]), abs=1e-3)
        assert (reference[:, 1:] == 0).all()
        heard = prepare_pcm(window_ending_at(whole.pcm_16k, start + SPEC.chunk_frames, SPEC))
        speech = fake_encoders().speech(torch.from_numpy(heard)[None], 200)[0, -35:]
        torch.testing.assert_close(rows.tensor("speech", [row])[0], speech, atol=1e-3, rtol=1e-3)
        silent = (whole.phoneme_ids[clip_frames(start, SPEC)] == 0).mean()
        assert rows.arrays["silent"][row] == pytest.approx(silent)


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
        build(split, broken, tmp_path / "broken")
    calls.clear()
    resumed = build(split, working, tmp_path / "broken").clips
    assert len(calls) == 2  # clips and references of the second shot only
    calls.clear()
    again = build(split, working, tmp_path / "broken").clips
    assert calls == []
    whole = build(split, fake_encoders(), tmp_path / "whole").clips
    for name, values in whole.arrays.items():
        assert np.array_equal(values, resumed.arrays[name])
        assert np.array_equal(values, again.arrays[name])


def test_other_weights_or_another_plan_get_a_cache_of_their_own(
    split: SynthTalk, tmp_path: Path
) -> None:
    for encoders, plan in (
        (fake_encoders(), PLAN),
        (fake_encoders(digest="b"), PLAN),
        (fake_encoders(), ClipPlan(2)),
    ):
        build(split, encoders, tmp_path / "cache", plan)
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_small_frames_go_through_the_models_together(split: SynthTalk, tmp_path: Path) -> None:
    calls: list[int] = []
    build(split, fake_encoders(calls), tmp_path / "cache")
    assert set(calls) == {PLAN.per_shot}


def test_a_batch_obeys_the_rules_of_references(cache: BucketCache) -> None:
    sampler = Stage1Sampler([cache], ClipOdds(cold_start=0.4, lead_in=0.2), SPEC, batch=8)
    rng = np.random.default_rng(0)
    cold = 0
    for number in range(100):
        batch = sampler.batch(sampler.pick(number, rng))
        assert batch.speech_BTWLD.shape == (8, 33, 5, 4, 6)
        assert batch.image_BND.shape == (8, 17, 8)
        first_B = batch.z_BCFHW[:, 0, 0, 0, 0]
        reference_B = batch.reference_BCFHW[:, 0, 0, 0, 0]
        assert (first_B == reference_B)[torch.from_numpy(batch.cold_B)].all()
        cold += int(batch.cold_B.sum())
    assert cold / 800 == pytest.approx(0.4, abs=0.06)


def test_drawn_clips_come_with_their_odds(cache: BucketCache) -> None:
    odds = ClipOdds(lead_in=0.2, silence=3.0)
    sampler, rng = Stage1Sampler([cache], odds, SPEC, batch=4000), np.random.default_rng(0)
    drawn = np.bincount(sampler.pick(0, rng).row_B, minlength=len(cache.clips)) / 4000
    lead_in = cache.clips.start_N < 0
    assert drawn[lead_in].sum() == pytest.approx(0.2, abs=0.02)
    weight = 1 + 3 * cache.clips.arrays["silent"][~lead_in].astype(float)
    assert drawn[~lead_in] == pytest.approx(0.8 * weight / weight.sum(), abs=0.03)


def test_audio_windows_reach_into_the_past_and_stop_at_the_end(cache: BucketCache) -> None:
    sampler = Stage1Sampler([cache], ClipOdds(), SPEC, batch=1)
    clip = np.array([2])
    batch = sampler.batch(Picks(0, clip, clip, np.array([True])))
    stored = cache.clips.tensor("speech", clip)[0]
    windows = batch.speech_BTWLD[0]
    assert torch.equal(windows[0, 0], stored[0])
    assert torch.equal(windows[0, 2], stored[2])
    assert torch.equal(windows[32, 2], stored[-1])
    assert torch.equal(windows[32, 4], stored[-1])
    assert torch.equal(windows[31, 4], stored[-1])


def test_mouth_cells_cover_the_lips_of_their_frames_and_little_else(
    split: SynthTalk, cache: BucketCache
) -> None:
    clips = np.arange(len(cache.clips))
    sampler = Stage1Sampler([cache], ClipOdds(), SPEC, batch=1)
    batch = sampler.batch(Picks(0, clips, clips, np.ones(len(clips), dtype=bool)))
    shown = replace(batch, z_BCFHW=torch.zeros(len(clips), 16, 9, 4, 4))
    cells = mouth_cells(SynthTalkSource(split), shown, SPEC)
    assert cells.shape == (len(clips), 1, 9, 4, 4)
    assert set(cells.unique().tolist()) == {0.0, 1.0}
    for clip in clips.tolist():
        shot, place = divmod(clip, PLAN.per_shot)
        frames = clip_frames(int(cache.clips.starts_of(shot)[place]), SPEC)
        boxes = mouth_box(split.arrays["tracks"][shot][frames], split.identity(shot), (32, 32))
        for frame, (top, left, bottom, right) in enumerate(boxes):
            cell = cells[clip, 0, (frame + 3) // 4]
            assert cell[top // 8, left // 8] == 1
            assert cell[(bottom - 1) // 8, (right - 1) // 8] == 1
    assert cells.mean() < 0.5


def spoilt(rng_seed: int, **odds: float) -> tuple[np.ndarray, np.ndarray, bool]:
    window = np.zeros(128_000, np.float32)
    window[40_000:] = np.sin(np.arange(88_000) / 20.0)
    off = {"noise": 0.0, "cut": 0.0, "silence": 0.0, "tilt": 0.0}
    augment = Augment(**{**off, **odds})  # type: ignore[arg-type]
    result, silenced = augmented(window, np.random.default_rng(rng_seed), augment, 16_000)
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
