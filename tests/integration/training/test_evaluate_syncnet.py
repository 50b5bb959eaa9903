"""The shipped SyncNet judges people, voices and sentences that its training never saw."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from flashtalk.errors import InputError, WeightsError
from training.data.synthtalk import SynthTalk, SynthTalkConfig, build_cache
from training.evaluate.held_out import ClipSet, open_clips
from training.evaluate.judges import Judges
from training.evaluate.probes import HEAD, Probes
from training.evaluate.syncnet.definition import SyncScore
from training.evaluate.syncnet.judge import SHORTEST_FRAMES, SyncJudge, open_sync_judge
from training.evaluate.syncnet.small import DEFAULT_SYNCNET, SmallSyncNet
from training.evaluate.syncnet.speech_and_mouths import gather
from training.evaluate.train_syncnet import SyncNetTrainer, SyncRecipe, main

SIZE = (96, 96)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    root = tmp_path_factory.mktemp("sync")
    return open_clips([], root, split="test", count=4, seconds=5.0, size_hw=SIZE)


@pytest.fixture(scope="module")
def judge() -> SyncJudge:
    return open_sync_judge(Probes.load(), None)


@pytest.fixture(scope="module")
def truth(clips: ClipSet, judge: SyncJudge) -> list[SyncScore]:
    return [judge.score(clips[k].frames_THWC, clips[k].pcm_N) for k in range(len(clips))]


def confidence(scores: list[SyncScore]) -> float:
    return float(np.mean([score.confidence for score in scores]))


def test_the_shipped_file_is_small() -> None:
    assert DEFAULT_SYNCNET.stat().st_size < 2_000_000
    assert not open_sync_judge(Probes.load(), None).is_published


def test_the_truth_is_on_time_and_far_above_shuffled_speech(
    clips: ClipSet, judge: SyncJudge, truth: list[SyncScore]
) -> None:
    count = len(clips)
    wrong = [judge.score(clips[k].frames_THWC, clips[(k + 1) % count].pcm_N) for k in range(count)]
    assert [score.offset_frames for score in truth] == [0] * count
    assert confidence(truth) > 4 * confidence(wrong)
    assert min(s.confidence for s in truth) > 2 * max(s.confidence for s in wrong)
    assert max(s.distance for s in truth) < min(s.distance for s in wrong) - 0.2


def test_a_pose_that_was_read_before_changes_nothing(clips: ClipSet, judge: SyncJudge) -> None:
    clip = clips[1]
    head = Probes.load().measure(clip.frames_THWC).stack(HEAD)
    known, read = (judge.score(clip.frames_THWC, clip.pcm_N, given) for given in (head, None))
    assert known == read


@pytest.mark.parametrize("late", [-9, -2, 1, 4, 12])
def test_a_shifted_picture_has_its_offset(clips: ClipSet, judge: SyncJudge, late: int) -> None:
    clip = clips[0]
    frames = len(clip.frames_THWC) - abs(late)
    first_picture, first_sample = max(0, -late), 640 * max(0, late)
    shown_THWC = clip.frames_THWC[first_picture : first_picture + frames]
    heard_N = clip.pcm_N[first_sample : first_sample + 640 * frames]
    assert judge.score(shown_THWC, heard_N).offset_frames == late


def test_frozen_and_blurred_video_score_lower(
    clips: ClipSet, judge: SyncJudge, truth: list[SyncScore]
) -> None:
    frozen: list[SyncScore] = []
    soft: list[SyncScore] = []
    ruined: list[SyncScore] = []
    for index in range(len(clips)):
        clip = clips[index]
        still_THWC = clip.frames_THWC[:1].repeat(len(clip.frames_THWC), 0)
        frozen.append(judge.score(still_THWC, clip.pcm_N))
        for sigma, kept in ((1.0, soft), (4.0, ruined)):
            blurred_THWC = gaussian_filter(clip.frames_THWC, (0, sigma, sigma, 0))
            kept.append(judge.score(blurred_THWC, clip.pcm_N))
    assert confidence(frozen) < 0.2 * confidence(truth)
    # A soft picture still talks: its lips are right and must not be taken for wrong ones.
    assert 0.6 * confidence(truth) < confidence(soft) < 1.05 * confidence(truth)
    assert confidence(ruined) < 0.75 * confidence(truth)


def test_scores_reach_the_report_under_the_right_names(clips: ClipSet, judge: SyncJudge) -> None:
    clip = clips[0]
    measured = Probes.load().measure(clip.frames_THWC)
    found = Judges(sync=(judge,)).scores(clip.frames_THWC, clip.pcm_N, measured, clip.background_HW)
    assert found["sync_c_own"] > 0.3
    assert found["sync_offset_own"] == 0
    assert "sync_c" not in found
    cut = SHORTEST_FRAMES - 1
    short = Judges(sync=(judge,)).scores(
        clip.frames_THWC[:cut], clip.pcm_N, measured, clip.background_HW
    )
    assert np.isnan(short["sync_c_own"])


def test_training_lowers_its_loss_and_goes_on_where_it_was(clips: ClipSet, tmp_path: Path) -> None:
    data: SynthTalk = clips.data
    mouths = gather(data, Probes.load(), tmp_path)
    recipe = SyncRecipe(steps=40, utterances_each=4, stretch=16)
    whole, broken = SyncNetTrainer(recipe, mouths), SyncNetTrainer(recipe, mouths)
    losses = [whole.update() for _ in range(30)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.3
    for _ in range(3):
        broken.update()
    broken.save(tmp_path / "checkpoint.pt")
    resumed = SyncNetTrainer(recipe, gather(data, Probes.load(), tmp_path))
    resumed.resume(tmp_path / "checkpoint.pt")
    assert resumed.step == 3
    assert resumed.update() == pytest.approx(losses[3], abs=1e-5)


def test_the_command_trains_and_writes_a_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "test"):
        config = SynthTalkConfig(split=split, count=2, seconds=3.0, size_hw=SIZE)
        build_cache(config, tmp_path / "data" / split, show_progress=False)
    folders = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    assert main(["--data", str(tmp_path / "data"), "--smoke", *folders]) == 0
    SmallSyncNet.load(tmp_path / "out" / "syncnet.safetensors")
    assert "2 utterances of the split `test`" in (tmp_path / "out" / "README.md").read_text()
    assert main(["--data", str(tmp_path / "absent"), "--smoke", *folders]) == 2
    assert "absent" in capsys.readouterr().err


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="train_syncnet"):
        SmallSyncNet.load(tmp_path / "absent")
    from safetensors.torch import save_file
    from torch import zeros

    save_file({"a": zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(WeightsError, match="configuration"):
        SmallSyncNet.load(tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="speech"):
        open_sync_judge(Probes.load(), None).score(
            np.zeros((3, 96, 96, 3), np.uint8), np.zeros(1920, np.float32)
        )
