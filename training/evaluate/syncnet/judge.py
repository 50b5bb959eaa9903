"""One interface over both SyncNets: a video and its speech in, a score out.

Legend: T frames, N samples at 16 kHz, D embedding numbers, S side in pixels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from flashtalk.arrays import FloatArray, Frames, Pcm
from training.evaluate.probes import Probes
from training.evaluate.syncnet.definition import MAX_OFFSET_FRAMES, SyncScore, sync_score
from training.evaluate.syncnet.mfcc import FRAME_SAMPLES, mfcc, windows
from training.evaluate.syncnet.small import DEFAULT_SYNCNET, PICTURES, SmallSyncNet
from training.evaluate.syncnet.speech_and_mouths import crop_mouths, long_enough

_BATCH = 256
# Below this many frames offsets cannot be distinguished.
SHORTEST_FRAMES = 2 * MAX_OFFSET_FRAMES + PICTURES + 5


class SyncJudge(Protocol):
    """Scores lip sync; ``is_published``: whether the numbers are comparable with the literature."""

    @property
    def is_published(self) -> bool:
        """True for the published network only."""

    def score(
        self,
        video_THWC: Frames,
        pcm_N: Pcm,
        head_T4: FloatArray | None = None,
    ) -> SyncScore:
        """Scores video uint8 [T, H, W, 3] at 25 fps against its speech, 640 samples a frame.

        ``head_T4`` is the head's pose (``Measurement.stack(HEAD)``) if it is already measured, for
        judges that need it.
        """


@dataclass(frozen=True)
class SmallSyncJudge:
    """Our network; the pose probe finds the mouth."""

    net: SmallSyncNet
    probes: Probes

    @property
    def is_published(self) -> bool:
        """False: same definition, another network, another scale."""
        return False

    def score(
        self,
        video_THWC: Frames,
        pcm_N: Pcm,
        head_T4: FloatArray | None = None,
    ) -> SyncScore:
        """Scores a video with our network."""
        frames = min(len(video_THWC), len(pcm_N) // FRAME_SAMPLES)
        crops_TCSS = torch.from_numpy(crop_mouths(video_THWC[:frames], self.probes, head_T4))
        cepstra_MC = long_enough(mfcc(pcm_N[: FRAME_SAMPLES * frames]), frames)
        return self.score_crops(crops_TCSS, cepstra_MC)

    def score_crops(self, crops_TCSS: Tensor, cepstra_MC: FloatArray) -> SyncScore:
        """Scores crops uint8 [T, 3, 32, 32] against cepstra [M, 13]."""
        video_TD, audio_TD = self.embed(crops_TCSS, cepstra_MC)
        return sync_score(video_TD, audio_TD, zero_padded=False)

    @torch.inference_mode()
    def embed(self, crops_TCSS: Tensor, cepstra_MC: FloatArray) -> tuple[Tensor, Tensor]:
        """Returns embeddings [T - 4, D] of the pictures and of the speech."""
        count = len(crops_TCSS) - PICTURES + 1
        speech_TCW = torch.from_numpy(windows(cepstra_MC, count))
        stacks_TNCSS = crops_TCSS.unfold(0, PICTURES, 1).permute(0, 4, 1, 2, 3)
        video, audio = [], []
        for start in range(0, count, _BATCH):
            stack_BNCSS = stacks_TNCSS[start : start + _BATCH].float() / 127.5 - 1.0
            video.append(self.net.embed_pictures(stack_BNCSS))
            audio.append(self.net.embed_speech(speech_TCW[start : start + _BATCH]))
        return torch.cat(video), torch.cat(audio)


def open_sync_judge(
    probes: Probes, published: Path | None, *, device: str = "cpu", own: Path = DEFAULT_SYNCNET
) -> SyncJudge:
    """Returns the published network if its weight file is given, else ours.

    Raises:
        WeightsError: the file is missing or does not fit.
    """
    if published is None:
        return SmallSyncJudge(SmallSyncNet.load(own), probes)
    from training.evaluate.syncnet.published import open_published

    return open_published(published, probes, device=device)
