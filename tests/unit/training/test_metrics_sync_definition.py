"""Sync-C, Sync-D and the offset, from embeddings whose answers are known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from flashtalk.errors import InputError
from training.evaluate.syncnet.definition import sync_score
from training.evaluate.syncnet.small import SmallSyncNet, SmallSyncNetConfig


def talk(windows: int = 150, seed: int = 0, noise: float = 0.3) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    speech = torch.randn(windows, 32, generator=generator)
    return speech + noise * torch.randn(windows, 32, generator=generator), speech


@pytest.mark.parametrize("zero_padded", [True, False])
def test_truth_scores_far_above_shuffled_and_frozen(zero_padded: bool) -> None:
    video, speech = talk()
    truth = sync_score(video, speech, zero_padded=zero_padded)
    _, foreign = talk(seed=1)
    shuffled = sync_score(video, foreign, zero_padded=zero_padded)
    frozen = sync_score(video[:1].expand_as(video), speech, zero_padded=zero_padded)
    assert truth.offset_frames == 0
    assert truth.confidence > 4
    assert truth.distance < 0.4 * shuffled.distance
    assert max(shuffled.confidence, frozen.confidence) < 0.2 * truth.confidence


@pytest.mark.parametrize("late", [-15, -6, -1, 0, 2, 9, 15])
def test_a_late_picture_has_a_positive_offset(late: int) -> None:
    video, speech = talk(300)
    shown = video[torch.arange(300).sub(late).clamp(0, 299)]
    score = sync_score(shown, speech, zero_padded=False)
    distances = [
        float(F.pairwise_distance(shown[15:285], speech[15 - k : 285 - k]).mean())
        for k in range(-15, 16)
    ]
    assert score.offset_frames == late
    assert score.distance == distances[late + 15] == min(distances)
    assert score.confidence == pytest.approx(np.median(distances) - score.distance)


def test_padded_scores_repeat_the_published_arithmetic() -> None:
    """Frame by frame over a zero-padded gallery, as the published code walks it."""
    video, speech = talk(40, noise=2.0)
    gallery = F.pad(speech, (0, 0, 15, 15))
    rows = [
        [float(torch.linalg.norm(video[i] - gallery[i + k] + 1e-6)) for k in range(31)]
        for i in range(40)
    ]
    means = np.mean(rows, axis=0)
    score = sync_score(video, speech, zero_padded=True)
    assert score.distance == pytest.approx(means.min(), rel=1e-5)
    assert score.confidence == pytest.approx(np.median(means) - means.min(), rel=1e-4)
    assert score.offset_frames == 15 - int(means.argmin())


def test_what_cannot_be_judged_is_named() -> None:
    video, speech = talk(30)
    with pytest.raises(InputError, match="windows"):
        sync_score(video, speech, zero_padded=False)
    with pytest.raises(InputError, match="embeddings"):
        sync_score(video, speech[:-1], zero_padded=True)


def test_small_network_puts_both_sides_on_the_unit_sphere(tmp_path: object) -> None:
    net = SmallSyncNet(SmallSyncNetConfig()).eval()
    seen = net.embed_pictures(torch.rand(3, 5, 3, 32, 32))
    heard = net.embed_speech(10 * torch.randn(3, 13, 20))
    assert seen.shape == heard.shape == (3, 64)
    torch.testing.assert_close(seen.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(heard.norm(dim=1), torch.ones(3))
