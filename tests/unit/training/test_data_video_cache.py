"""Caches and batches of videos; and the caches of SynthTalk that share their code."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from flashtalk.errors import InputError
from flashtalk.models.wav2vec2.loudness import prepare_pcm
from flashtalk.streaming.spec import StreamSpec
from tests.unit.training.recorded_videos import number_of, numbered
from tests.unit.training.test_stage1_data import fake_encoders
from tests.unit.training.tiny_split import render_split
from training.data.buckets import BucketPlan, SizeHW
from training.data.source import Frames, Pcm, VideoFacts, check_range
from training.data.speech import window_ending_at
from training.data.stage1_cache import Encoders, build_stage1_cache
from training.data.stage1_clips import ClipPlan, clip_frame_rows
from training.data.stage2_cache import build_stage2_cache
from training.data.stage2_sequences import SequencePlan, chunk_start
from training.data.synthtalk_source import SynthTalkSource
from training.data.video_batch import VideoStage1Sampler, VideoStage2Sampler
from training.data.video_cache import BucketCache, VideoPlan, build_video_caches
from training.data.videos.problems import BadVideoError, SkipList

SPEC = StreamSpec()
SIZES = BucketPlan(area_px=64 * 64, tolerance=0.2, always=())
PLAN = VideoPlan(ClipPlan(spread=3), buckets=SIZES)
LONG = VideoPlan(ClipPlan(spread=3), SequencePlan(chunks=2), SIZES)


class Recorded:
    """Videos whose every frame says where it is from: number 100 * video + frame."""

    name = "made"
    digest = "0123"

    def __init__(self, bad: tuple[int, ...] = ()) -> None:
        self.bad = set(bad)
        wide, tall = (90, 160), (160, 90)
        self._facts = [
            VideoFacts(f"v{index}", frames, size, f"caption {index}", shots)
            for index, (frames, size, shots) in enumerate(
                [
                    (90, wide, ((0, 90),)),
                    (95, tall, ((0, 10), (20, 95))),
                    (99, wide, ((0, 99),)),
                    (80, (64, 64), ((0, 80),)),
                    (99, wide, ((0, 20), (20, 40))),
                    (99, wide, ((1, 99),)),
                ]
            )
        ]

    def __len__(self) -> int:
        return len(self._facts)

    def facts(self, index: int) -> VideoFacts:
        return self._facts[index]

    def frames(self, index: int, first: int, count: int, size_hw: SizeHW) -> Frames:
        self._check(index, first, count)
        return np.stack([numbered(100 * index + first + k, size_hw) for k in range(count)])

    def pcm(self, index: int, first: int, count: int) -> Pcm:
        """Every sample of a frame is its number."""
        self._check(index, first, count)
        levels = (np.arange(first, first + count) + 1).astype(np.float32) / np.float32(1000)
        return np.repeat(levels, 640)

    def _check(self, index: int, first: int, count: int) -> None:
        check_range(self.facts(index), first, count)
        if index in self.bad:
            raise BadVideoError("corrupt", f"v{index}", "as the test wants it")


def reading_encoders() -> Encoders:
    """Encoders that read the numbers: latents hold 100 * video + frame of every fourth frame."""

    def video(video_BCTHW: Tensor) -> Tensor:
        rows = []
        for clip_CTHW in video_BCTHW:
            pictures = ((clip_CTHW[:, ::4] + 1) * 127.5).byte().permute(1, 2, 3, 0).numpy()
            rows.append([float(number_of(picture)) for picture in pictures])
        return torch.tensor(rows)[:, None, :, None, None].expand(-1, 16, -1, 2, 2)

    def image(image_BCHW: Tensor) -> Tensor:
        return video(image_BCHW[:, :, None])[:, 0, 0, 0].unsqueeze(2)

    def speech(pcm_BS: Tensor, frames: int) -> Tensor:
        features: Tensor = pcm_BS.unflatten(1, (frames, -1)).mean(2)[:, :, None, None]
        return features

    return Encoders(video, image, speech, "reading")


@pytest.fixture
def caches(tmp_path: Path) -> list[BucketCache]:
    return build_video_caches(Recorded(), reading_encoders(), PLAN, tmp_path, SPEC)


def test_buckets_have_their_own_caches_and_short_shots_none(caches: list[BucketCache]) -> None:
    ratios = [cache.size_hw[1] / cache.size_hw[0] for cache in caches]
    assert ratios == sorted(ratios)
    assert len(caches) == 3
    videos = [[unit.video for unit in cache.units] for cache in caches]
    assert videos == [[1], [3], [0, 2, 5]]
    assert caches[0].units[0].first == 20
    for cache in caches:
        assert len(cache.clips) == 4 * len(cache.units)
        assert cache.good_U.tolist() == list(range(len(cache.units)))


def test_rows_are_the_clips_of_one_shot(caches: list[BucketCache]) -> None:
    for cache in caches:
        for clip in range(len(cache.clips)):
            index, place = divmod(clip, 4)
            unit = cache.units[index]
            start = int(cache.clips.starts_of(index)[place])
            frames = unit.first + clip_frame_rows(start, SPEC)
            assert frames.min() >= unit.first
            assert frames.max() < unit.first + unit.frames
            latents = cache.clips.tensor("latents", [clip])[0, 0, :, 0, 0]
            assert latents.tolist() == (100 * unit.video + frames[::4]).tolist()
            tokens = cache.clips.tensor("tokens", [clip]).flatten()
            assert tokens.tolist() == [100 * unit.video + frames[0]] * 2


def test_a_shot_hears_nothing_from_before_it(caches: list[BucketCache]) -> None:
    """Video 1's shot begins at frame 20; the clip at its start ends after 33 frames of sound."""
    cache = caches[0]
    place = cache.clips.starts_of(0).tolist().index(0)
    speech = cache.clips.tensor("speech", [place])[0, :, 0, 0]
    # Two frames of context before the clip are silence; then levels rise with the frames' numbers.
    assert torch.equal(speech[:2], speech[:1].expand(2))
    assert (speech[2:].diff() > 0).all()
    assert speech[2] > speech[1]


def test_speech_ends_with_the_clip(caches: list[BucketCache]) -> None:
    source, encoders = Recorded(), reading_encoders()
    for cache in caches:
        for clip in range(len(cache.clips)):
            index, place = divmod(clip, 4)
            unit = cache.units[index]
            end = int(cache.clips.starts_of(index)[place]) + SPEC.chunk_frames
            heard = window_ending_at(source.pcm(unit.video, unit.first, end), end, SPEC)
            expected = encoders.speech(torch.from_numpy(prepare_pcm(heard))[None], 200)[0, -35:]
            speech = cache.clips.tensor("speech", [clip])[0]
            torch.testing.assert_close(speech, expected, atol=1e-3, rtol=1e-3)


def test_a_batch_is_of_one_bucket_and_its_references_are_outside(
    caches: list[BucketCache],
) -> None:
    sampler = VideoStage1Sampler(caches, SPEC, batch=4, cold_start=0.4)
    cold = total = 0
    buckets: Counter[int] = Counter()
    for step in range(60):
        picks = sampler.pick(step)
        batch = sampler.batch(picks)
        buckets[picks.bucket] += 1
        cache = caches[picks.bucket]
        first = batch.z_BCFHW[:, 0, :, 0, 0]
        reference = batch.reference_BCFHW[:, 0, 0, 0, 0]
        for row in range(4):
            video = int(batch.utterance_B[row])
            assert int(reference[row]) // 100 == video == int(first[row, 0]) // 100
            inside = first[row, 0] <= reference[row] <= first[row, 0] + 32
            assert inside == batch.cold_B[row]
        assert {int(v) for v in batch.utterance_B} <= {unit.video for unit in cache.units}
        cold, total = cold + int(batch.cold_B.sum()), total + 4
    assert 0.25 < cold / total < 0.55
    assert buckets[2] == pytest.approx(60 * 3 / 5, abs=2)


def test_ranks_share_a_batch_and_any_process_draws_the_same(caches: list[BucketCache]) -> None:
    for step in (0, 7, 31):
        whole = VideoStage1Sampler(caches, SPEC, batch=4, seed=2)
        batch = whole.batch(whole.pick(step))
        parts = []
        for rank in range(2):
            own = VideoStage1Sampler(caches, SPEC, batch=4, seed=2)
            parts.append(own.batch(own.pick(step).rows(slice(2 * rank, 2 * rank + 2))))
        assert torch.equal(torch.cat([part.z_BCFHW for part in parts]), batch.z_BCFHW)
        joined = torch.cat([part.reference_BCFHW for part in parts])
        assert torch.equal(joined, batch.reference_BCFHW)


def test_every_clip_comes_once_in_a_round(caches: list[BucketCache]) -> None:
    sampler = VideoStage1Sampler(caches, SPEC, batch=4)
    seen = [
        (picks.bucket, int(clip))
        for picks in map(sampler.pick, range(5))
        for clip in picks.picks.clip_B
    ]
    assert len(seen) == len(set(seen)) == sum(len(cache.clips) for cache in caches) == 20


def test_a_video_that_goes_bad_is_listed_and_never_drawn(tmp_path: Path) -> None:
    source, skipped = Recorded(bad=(2, 3)), SkipList(tmp_path / "skipped.jsonl")
    args = (reading_encoders(), PLAN, tmp_path / "cache", SPEC)
    caches = build_video_caches(source, *args, skipped)
    assert skipped.counts == {"corrupt": 2}
    assert [[unit.video for unit in cache.units] for cache in caches] == [[1], [0, 2, 5]]
    assert caches[1].good_U.tolist() == [0, 2]
    sampler = VideoStage1Sampler(caches, SPEC, batch=4)
    drawn = [sampler.batch(sampler.pick(step)) for step in range(12)]
    videos = {int(video) for batch in drawn for video in batch.utterance_B}
    assert videos == {0, 1, 5}
    # Opened again they are as they were, and the bad ones are not tried again.
    healed = build_video_caches(Recorded(), *args, SkipList())
    assert healed[-1].good_U.tolist() == [0, 2]
    with pytest.raises(InputError, match="at least one that can be read"):
        build_video_caches(Recorded(bad=tuple(range(6))), *args[:2], tmp_path / "none", SPEC)


def test_a_killed_build_goes_on(tmp_path: Path) -> None:
    class PowerCut(Exception):
        pass

    whole = build_video_caches(Recorded(), reading_encoders(), PLAN, tmp_path / "whole", SPEC)
    calls = 0
    working = reading_encoders()

    def dying(video_BCTHW: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 40:
            raise PowerCut
        return working.video(video_BCTHW)

    broken = Encoders(dying, working.image, working.speech, "reading")
    with pytest.raises(PowerCut):
        build_video_caches(Recorded(), broken, PLAN, tmp_path / "broken", SPEC)
    calls = 100
    resumed = build_video_caches(Recorded(), broken, PLAN, tmp_path / "broken", SPEC)
    assert 0 < calls - 100 < 40
    for one, other in zip(whole, resumed, strict=True):
        for name, values in one.clips.arrays.items():
            assert np.array_equal(values, other.clips.arrays[name]), name
    calls = 0
    build_video_caches(Recorded(), broken, PLAN, tmp_path / "broken", SPEC)
    assert calls == 0


def test_another_source_size_plan_or_model_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    source = Recorded()
    build_video_caches(source, reading_encoders(), PLAN, tmp_path, SPEC)
    assert len(list(tmp_path.iterdir())) == 3
    other = reading_encoders()
    build_video_caches(
        source, Encoders(other.video, other.image, other.speech, "b"), PLAN, tmp_path, SPEC
    )
    assert len(list(tmp_path.iterdir())) == 6
    source.digest = "4567"
    build_video_caches(source, reading_encoders(), PLAN, tmp_path, SPEC)
    assert len(list(tmp_path.iterdir())) == 9


def test_stretches_of_stage_2_lie_in_one_shot(tmp_path: Path) -> None:
    caches = build_video_caches(Recorded(), reading_encoders(), LONG, tmp_path, SPEC)
    assert LONG.fewest_frames(SPEC) == 66
    sampler = VideoStage2Sampler(caches, SPEC, batch=3, seed=1)
    videos: list[int] = []
    for number in range(30):
        beginning = number % 2 == 0
        batch = sampler.draw(number, 2, beginning=beginning)
        assert batch.speech_BKTWLD.shape[:3] == (3, 2, 33)
        motion = batch.true_motion_BKCMHW[:, :, 0, :, 0, 0]
        for row in range(3):
            video = int(batch.utterance_B[row])
            videos.append(video)
            shots = Recorded().facts(video).shots
            low, high = max(shots, key=lambda shot: shot[1] - shot[0])
            frames = motion[row] - 100 * video
            assert (frames >= low).all()
            assert (frames < high).all()
            reference = float(batch.reference_BCFHW[row, 0, 0, 0, 0]) - 100 * video
            if beginning:
                assert reference == low
                assert batch.motion_BCMHW.shape[2] == 1
            else:
                assert frames[1, 0] - frames[0, 0] == chunk_start(0, 1, SPEC) == 28
                assert not frames[0, 0] <= reference < frames[0, 0] + 33
        mine = sampler.draw(number, 2, beginning=beginning, mine=slice(1, 2))
        assert torch.equal(mine.reference_BCFHW, batch.reference_BCFHW[1:2])
    assert {0, 1, 2, 3, 5} == set(videos)
    plain = build_video_caches(Recorded(), reading_encoders(), PLAN, tmp_path, SPEC)
    with pytest.raises(InputError, match="stretches"):
        VideoStage2Sampler(plain, SPEC, batch=3)
    plan = VideoPlan(stretches=SequencePlan(), buckets=SIZES)
    with pytest.raises(InputError, match="at least one of 145 frames"):
        build_video_caches(Recorded(), reading_encoders(), plan, tmp_path, SPEC)


def test_synthtalk_gives_the_same_rows_either_way(tmp_path: Path) -> None:
    data = render_split(tmp_path, "train", count=2, seconds=8.0)
    plan = VideoPlan(
        ClipPlan(3), SequencePlan(), BucketPlan(area_px=32 * 32, tolerance=0.1, always=())
    )
    own1 = build_stage1_cache(data, fake_encoders(), plan.clips, tmp_path / "cache", SPEC)
    assert plan.stretches is not None
    own2 = build_stage2_cache(data, fake_encoders(), plan.stretches, tmp_path / "cache", SPEC)
    # Folders of finished caches: another name would encode everything again.
    names = sorted(folder.name for folder in (tmp_path / "cache").iterdir())
    assert names == ["stage1-train-7375e599261e", "stage2-train-ac2ab396b015"]
    (cache,) = build_video_caches(
        SynthTalkSource(data), fake_encoders(), plan, tmp_path / "videos", SPEC
    )
    assert cache.stretches is not None
    for name in ("latents", "reference", "tokens", "speech", "start"):
        left, right = own1.arrays[name], cache.clips.arrays[name]
        assert np.allclose(left.astype(float), right.astype(float), atol=2e-3), name
    for name, values in own2.arrays.items():
        right = cache.stretches.arrays[name]
        assert np.allclose(values.astype(float), right.astype(float), atol=2e-3), name
