"""Scores of a small SyncNet on people, voices and sentences that are not in its training data.

Legend: U utterances, T frames, S side in pixels, M steps at 100 Hz, C 13 cepstra.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from training.data.synthtalk.cache import SynthTalk
from training.evaluate.probes import Probes
from training.evaluate.syncnet.definition import SyncScore
from training.evaluate.syncnet.judge import SmallSyncJudge
from training.evaluate.syncnet.mfcc import FRAMES_PER_PICTURE, mfcc
from training.evaluate.syncnet.small import SmallSyncNet
from training.evaluate.syncnet.speech_and_mouths import crop_mouths, long_enough

SHIFTS = (-8, -3, 3, 8)


@dataclass(frozen=True)
class HeldOutScores:
    """Means over the utterances; shares are of utterances."""

    utterances: int
    confidence: float
    distance: float
    offset_zero: float
    confidence_wrong: float
    distance_wrong: float
    told_apart: float
    shifts_found: float


def held_out_scores(
    net: SmallSyncNet, data: SynthTalk, probes: Probes, count: int = 32
) -> HeldOutScores:
    """Scores every utterance with its own speech, the next one's, and its own shifted."""
    judge = SmallSyncJudge(net, probes)
    frames = data.config.frames
    amount = min(count, len(data))
    clips = [data.clip(index, 0, frames) for index in range(amount)]
    crops = [torch.from_numpy(crop_mouths(clip.frames, probes)) for clip in clips]
    cepstra = [long_enough(mfcc(clip.pcm_16k), frames) for clip in clips]
    own = [judge.score_crops(c, m) for c, m in zip(crops, cepstra, strict=True)]
    wrong = [judge.score_crops(crops[k], cepstra[(k + 1) % amount]) for k in range(amount)]
    found = [
        _shifted(judge, crops[k], cepstra[k], shift).offset_frames == shift
        for k in range(amount)
        for shift in SHIFTS
    ]
    return HeldOutScores(
        utterances=amount,
        confidence=float(np.mean([s.confidence for s in own])),
        distance=float(np.mean([s.distance for s in own])),
        offset_zero=float(np.mean([s.offset_frames == 0 for s in own])),
        confidence_wrong=float(np.mean([s.confidence for s in wrong])),
        distance_wrong=float(np.mean([s.distance for s in wrong])),
        told_apart=float(
            np.mean([a.confidence > b.confidence for a, b in zip(own, wrong, strict=True)])
        ),
        shifts_found=float(np.mean(found)),
    )


def _shifted(
    judge: SmallSyncJudge, crops_TCSS: torch.Tensor, cepstra_MC: np.ndarray, shift: int
) -> SyncScore:
    """Returns the score for a picture that is ``shift`` frames late."""
    if shift >= 0:
        crops_TCSS = crops_TCSS[: len(crops_TCSS) - shift]
        return judge.score_crops(crops_TCSS, cepstra_MC[FRAMES_PER_PICTURE * shift :])
    crops_TCSS = crops_TCSS[-shift:]
    return judge.score_crops(crops_TCSS, cepstra_MC)


def syncnet_card(facts: Mapping[str, object], judged: HeldOutScores) -> str:
    """Returns the model card: the network, its training, and its scores."""
    return f"""# Small SyncNet

Two small convolutional towers that put five mouth crops and 0.2 s of speech on one unit sphere.
They give Sync-C and Sync-D of SynthTalk video in `python -m training.evaluate`
(docs/evaluation.md) by the published definition, on a scale of their own (distances 0 .. 2): never
compare these numbers with those of the published SyncNet. They know the procedural faces only.

- made by: `python -m training.evaluate.train_syncnet --data .cache/synthtalk`,
  {facts["minutes"]} minutes on one CPU core
- data: {facts["utterances"]} utterances of 8 s of the split `train`, mouths found by the pose
  probe, half of the stretches blurred, noisy and recoloured; speech louder and softer
- training: {facts["steps"]} steps of {facts["windows"]} windows, InfoNCE both ways, seed
  {facts["seed"]}
- size: {facts["megabytes"]} MB, half precision

{judged.utterances} utterances of the split `test` (other people, voices and sentences):

| measure | value |
| --- | ---: |
| Sync-C, own speech | {judged.confidence:.3f} |
| Sync-C, another utterance's speech | {judged.confidence_wrong:.3f} |
| Sync-D, own speech | {judged.distance:.3f} |
| Sync-D, another utterance's speech | {judged.distance_wrong:.3f} |
| offset 0 for the own speech | {judged.offset_zero:.1%} |
| Sync-C of the own speech above that of the other | {judged.told_apart:.1%} |
| picture -8, -3, 3 or 8 frames late: that offset is found | {judged.shifts_found:.1%} |
"""
