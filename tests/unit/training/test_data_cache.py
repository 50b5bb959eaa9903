"""Caches and batches of videos."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from flashtalk.arrays import BoolArray, Frames, Pcm
from flashtalk.errors import InputError
from flashtalk.models.wav2vec2.loudness import prepare_pcm
from flashtalk.streaming.spec import StreamSpec
from tests.unit.training.recorded_videos import number_of, numbered
from training.data.buckets import BucketPlan, SizeHW
from training.data.cache import BucketCache, VideoPlan, build_video_caches
from training.data.encode import Encoders
from training.data.sampler import ClipOdds, Stage1Sampler, Stage2Sampler
from training.data.source.video import VideoFacts, check_range, quiet_by_loudness
from training.data.speech import window_ending_at
from training.data.units import ClipPlan, StretchPlan, clip_frames
from training.data.videos.problems import BadVideoError, SkipList

SPEC = StreamSpec()
SIZES = BucketPlan(area_px=64 * 64, tolerance=0.2, always=())
PLAN = VideoPlan(ClipPlan(spread=3), buckets=SIZES)
ROUNDS, RNG = ClipOdds("rounds"), np.random.default_rng(0)
LONG = VideoPlan(ClipPlan(spread=3), StretchPlan(chunks=2), SIZES)


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

    def quiet(self, index: int, first: int, count: int) -> BoolArray:
        return quiet_by_loudness(self.pcm(index, first, count), SPEC)

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
    videos = [[shot.video for shot in cache.shots] for cache in caches]
    assert videos == [[1], [3], [0, 2, 5]]
    assert caches[0].shots[0].first == 20
    for cache in caches:
        assert len(cache.clips) == 4 * len(cache.shots)
        assert cache.good_U.tolist() == list(range(len(cache.shots)))


def test_rows_are_the_clips_of_one_shot(caches: list[BucketCache]) -> None:
    for cache in caches:
        for clip in range(len(cache.clips)):
            index, place = divmod(clip, 4)
            shot = cache.shots[index]
            start = int(cache.clips.starts_of(index)[place])
            frames = shot.first + clip_frames(start, SPEC)
            assert frames.min() >= shot.first
            assert frames.max() < shot.first + shot.frames
            latents = cache.clips.tensor("latents", [clip])[0, 0, :, 0, 0]
            assert latents.tolist() == (100 * shot.video + frames[::4]).tolist()
            tokens = cache.clips.tensor("tokens", [clip]).flatten()
            assert tokens.tolist() == [100 * shot.video + frames[0]] * 2


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
            shot = cache.shots[index]
            end = int(cache.clips.starts_of(index)[place]) + SPEC.chunk_frames
            heard = window_ending_at(source.pcm(shot.video, shot.first, end), end, SPEC)
            expected = encoders.speech(torch.from_numpy(prepare_pcm(heard))[None], 200)[0, -35:]
            speech = cache.clips.tensor("speech", [clip])[0]
            torch.testing.assert_close(speech, expected, atol=1e-3, rtol=1e-3)


def test_a_batch_is_of_one_bucket_and_its_references_are_outside(
    caches: list[BucketCache],
) -> None:
    sampler = Stage1Sampler(caches, ClipOdds("rounds", cold_start=0.4), SPEC, batch=4)
    cold = total = 0
    buckets: Counter[int] = Counter()
    for step in range(60):
        picks = sampler.pick(step, RNG)
        batch = sampler.batch(picks)
        buckets[picks.bucket] += 1
        cache = caches[picks.bucket]
        first = batch.z_BCFHW[:, 0, :, 0, 0]
        reference = batch.reference_BCFHW[:, 0, 0, 0, 0]
        for row in range(4):
            video = int(batch.video_B[row])
            assert int(reference[row]) // 100 == video == int(first[row, 0]) // 100
            inside = first[row, 0] <= reference[row] <= first[row, 0] + 32
            assert inside == batch.cold_B[row]
        assert {int(v) for v in batch.video_B} <= {shot.video for shot in cache.shots}
        cold, total = cold + int(batch.cold_B.sum()), total + 4
    assert 0.25 < cold / total < 0.55
    assert buckets[2] == pytest.approx(60 * 3 / 5, abs=2)


def test_ranks_share_a_batch_and_any_process_draws_the_same(caches: list[BucketCache]) -> None:
    for step in (0, 7, 31):
        whole = Stage1Sampler(caches, ROUNDS, SPEC, batch=4, seed=2)
        batch = whole.batch(whole.pick(step, RNG))
        parts = []
        for rank in range(2):
            own = Stage1Sampler(caches, ROUNDS, SPEC, batch=4, seed=2)
            parts.append(own.batch(own.pick(step, RNG).rows(slice(2 * rank, 2 * rank + 2))))
        assert torch.equal(torch.cat([part.z_BCFHW for part in parts]), batch.z_BCFHW)
        joined = torch.cat([part.reference_BCFHW for part in parts])
        assert torch.equal(joined, batch.reference_BCFHW)


def test_every_clip_comes_once_in_a_round(caches: list[BucketCache]) -> None:
    sampler = Stage1Sampler(caches, ROUNDS, SPEC, batch=4)
    seen = [
        (picks.bucket, int(clip))
        for picks in (sampler.pick(step, RNG) for step in range(5))
        for clip in picks.row_B
    ]
    assert len(seen) == len(set(seen)) == sum(len(cache.clips) for cache in caches) == 20


def test_a_video_that_goes_bad_is_listed_and_never_drawn(tmp_path: Path) -> None:
    source, skipped = Recorded(bad=(2, 3)), SkipList(tmp_path / "skipped.jsonl")
    args = (reading_encoders(), PLAN, tmp_path / "cache", SPEC)
    caches = build_video_caches(source, *args, skipped)
    assert skipped.counts == {"corrupt": 2}
    assert [[shot.video for shot in cache.shots] for cache in caches] == [[1], [0, 2, 5]]
    assert caches[1].good_U.tolist() == [0, 2]
    sampler = Stage1Sampler(caches, ROUNDS, SPEC, batch=4)
    drawn = [sampler.batch(sampler.pick(step, RNG)) for step in range(12)]
    videos = {int(video) for batch in drawn for video in batch.video_B}
    assert videos == {0, 1, 5}
    drawn_anew = Stage1Sampler(caches, ClipOdds(), SPEC, batch=4)
    rng = np.random.default_rng(0)
    drawn = [drawn_anew.batch(drawn_anew.pick(number, rng)) for number in range(40)]
    assert {int(video) for batch in drawn for video in batch.video_B} == {0, 1, 5}
    # Opened again they are as they were, and the bad ones are not tried again.
    healed = build_video_caches(Recorded(), *args, SkipList())
    assert healed[-1].good_U.tolist() == [0, 2]
    with pytest.raises(InputError, match="at least one must be readable"):
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
        if calls == 13:
            raise PowerCut
        return working.video(video_BCTHW)

    broken = Encoders(dying, working.image, working.speech, "reading")
    with pytest.raises(PowerCut):
        build_video_caches(Recorded(), broken, PLAN, tmp_path / "broken", SPEC)
    calls = 100
    resumed = build_video_caches(Recorded(), broken, PLAN, tmp_path / "broken", SPEC)
    assert 0 < calls - 100 < 13
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
    sampler = Stage2Sampler(caches, SPEC, batch=3, seed=1)
    videos: list[int] = []
    for number in range(30):
        beginning = number % 2 == 0
        batch = sampler.draw(number, 2, RNG, beginning=beginning)
        assert batch.speech_BKTWLD.shape[:3] == (3, 2, 33)
        motion = batch.true_motion_BKCMHW[:, :, 0, :, 0, 0]
        for row in range(3):
            video = int(batch.video_B[row])
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
                assert frames[1, 0] - frames[0, 0] == SPEC.new_frames == 28
                assert not frames[0, 0] <= reference < frames[0, 0] + 33
        mine = sampler.draw(number, 2, RNG, beginning=beginning, mine=slice(1, 2))
        assert torch.equal(mine.reference_BCFHW, batch.reference_BCFHW[1:2])
    assert {0, 1, 2, 3, 5} == set(videos)
    plain = build_video_caches(Recorded(), reading_encoders(), PLAN, tmp_path, SPEC)
    with pytest.raises(InputError, match="stretches"):
        Stage2Sampler(plain, SPEC, batch=3)
    plan = VideoPlan(stretches=StretchPlan(), buckets=SIZES)
    with pytest.raises(InputError, match="at least one shot of 145 frames"):
        build_video_caches(Recorded(), reading_encoders(), plan, tmp_path, SPEC)


def test_stretches_may_be_drawn_anew(tmp_path: Path) -> None:
    caches = build_video_caches(Recorded(bad=(2,)), reading_encoders(), LONG, tmp_path, SPEC)
    sampler = Stage2Sampler(caches, SPEC, batch=3, order="drawn")
    rng = np.random.default_rng(0)
    begins = np.array([True, False, False])
    drawn = [sampler.draw(0, 2, rng, beginning=begins) for _ in range(40)]
    assert {int(video) for batch in drawn for video in batch.video_B} == {0, 1, 3, 5}
    for batch in drawn:
        assert len({batch.video_B[0] == 1, *(batch.video_B == 1)}) == 1, "one bucket"
        assert batch.held_B.tolist() == [1, 2, 2]
        assert torch.equal(batch.motion_BCMHW[0, :, :1], batch.reference_BCFHW[0, :, :1])
        assert torch.equal(batch.motion_BCMHW[1:], batch.true_motion_BKCMHW[1:, 0])
    # A rank whose samples all begin has the shapes of the others.
    own = sampler.draw(0, 2, rng, beginning=begins, mine=slice(0, 1))
    assert own.motion_BCMHW.shape[2] == 2


def test_a_source_may_keep_its_own_sizes(tmp_path: Path) -> None:
    plan = VideoPlan(ClipPlan(spread=3), buckets=None)
    caches = build_video_caches(Recorded(), reading_encoders(), plan, tmp_path, SPEC)
    assert [cache.size_hw for cache in caches] == [(160, 90), (64, 64), (90, 160)]
