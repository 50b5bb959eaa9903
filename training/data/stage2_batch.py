"""Batches of Stage 2: stretches of speech, portraits, and what the first chunk continues.

Legend: B batch, K chunks, C latent channels, F latent frames, M motion latents, h w latent size,
N image tokens, D width, T frames of a chunk (33), W window (5), L layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashtalk.streaming.spec import StreamSpec
from flashtalk.streaming.windows import window_indices
from training.data.stage1_cache import Stage1Cache
from training.data.stage1_clips import references_outside
from training.data.stage2_cache import Stage2Cache

Beginning = bool | npt.NDArray[np.bool_]
"""Whether streams begin with a batch: all, none, or bool [B], each for itself."""


@dataclass(frozen=True)
class Stage2Batch:
    """What one rollout needs, float32.

    Args:
        reference_BCFHW: conditioning latents of the portrait.
        clip_BND: image tokens of the portrait.
        speech_BKTWLD: audio windows of each chunk.
        motion_BCMHW: what the first chunk continues: one latent, the portrait's, at the beginning
            of a stream, else two of the true video.
        true_motion_BKCMHW: motion latents of the true video at every chunk.
        utterance_B: int64.
        held_B: int64, how many of ``motion_BCMHW`` count: where samples differ, there are two
            latents of each, and the second one of a beginning is zero.
    """

    reference_BCFHW: Tensor
    clip_BND: Tensor
    speech_BKTWLD: Tensor
    motion_BCMHW: Tensor
    true_motion_BKCMHW: Tensor
    utterance_B: npt.NDArray[np.int64]
    held_B: Tensor

    def rows(self, rows: Tensor) -> Stage2Batch:
        """Some of the samples."""
        return Stage2Batch(
            self.reference_BCFHW[rows],
            self.clip_BND[rows],
            self.speech_BKTWLD[rows],
            self.motion_BCMHW[rows],
            self.true_motion_BKCMHW[rows],
            self.utterance_B[rows.cpu().numpy()],
            self.held_B[rows],
        )

    def to(self, device: torch.device) -> Stage2Batch:
        """The same on another device."""
        return replace(
            self,
            reference_BCFHW=self.reference_BCFHW.to(device),
            clip_BND=self.clip_BND.to(device),
            speech_BKTWLD=self.speech_BKTWLD.to(device),
            motion_BCMHW=self.motion_BCMHW.to(device),
            true_motion_BKCMHW=self.true_motion_BKCMHW.to(device),
            held_B=self.held_B.to(device),
        )


class Stage2Sampler:
    """Draws batches; all randomness comes from the generator of the call.

    Args:
        clips: of Stage 1: portraits, their latents and tokens.
        stretches: of Stage 2, of the same utterances.
        spec: the stream contract.
    """

    def __init__(self, clips: Stage1Cache, stretches: Stage2Cache, spec: StreamSpec) -> None:
        self.clips, self.stretches, self.spec = clips, stretches, spec
        total = spec.feature_rows
        rows_TW = window_indices(total - spec.chunk_frames, total, total, spec.audio_window)
        self._windows_TW = torch.from_numpy(rows_TW)

    def draw(
        self,
        size: int,
        chunks: int,
        rng: np.random.Generator,
        *,
        beginning: Beginning,
        mine: slice = slice(None),
        utterance_B: npt.NDArray[np.int64] | None = None,
    ) -> Stage2Batch:
        """The first ``chunks`` chunks of ``size`` stretches.

        Args:
            size: of the global batch.
            chunks: that are rolled out.
            rng: alike on every rank.
            beginning: of streams: all, none, or each as it is said.
            mine: the rows to load.
            utterance_B: of the global batch; drawn if not given.
        """
        per = self.stretches.plan.per_utterance
        if utterance_B is None:
            utterance_B = rng.integers(0, len(self.stretches) // per, size)
        utterances = utterance_B
        begins_B = np.broadcast_to(np.asarray(beginning, dtype=bool), (size,))
        places = np.zeros(size, np.int64)
        if not begins_B.all():
            places = np.where(begins_B, 0, rng.integers(1, per, size))
        rows = utterances * per + places
        references = np.asarray(
            [
                self._reference(int(u), int(row), rng)
                for u, row in zip(utterances, rows, strict=True)
            ]
        )[mine]
        utterances, rows = utterances[mine], rows[mine]
        reference = self.clips.tensor("reference", references)
        motion = self.stretches.tensor("motion", rows, slice(0, chunks))
        speech = self.stretches.tensor("speech", rows, slice(0, chunks))
        begins = torch.from_numpy(begins_B[mine].copy())
        held_B = torch.where(begins, 1, motion.shape[3])
        if begins_B.all():
            first = reference[:, :, :1]
        else:
            padded = torch.nn.functional.pad(
                reference[:, :, :1], (0, 0, 0, 0, 0, motion.shape[3] - 1)
            )
            first = torch.where(begins[:, None, None, None, None], padded, motion[:, 0])
        return Stage2Batch(
            reference_BCFHW=reference,
            clip_BND=self.clips.tensor("tokens", references),
            speech_BKTWLD=speech[:, :, self._windows_TW],
            motion_BCMHW=first,
            true_motion_BKCMHW=motion,
            utterance_B=utterances.astype(np.int64),
            held_B=held_B,
        )

    def _reference(self, utterance: int, row: int, rng: np.random.Generator) -> int:
        """Row of the clips whose first frame is the portrait."""
        size = self.clips.plan.per_utterance
        start = int(self.stretches.arrays["start"][row])
        starts = self.clips.starts_of(utterance)
        if start < 0:
            # The beginning continues its own portrait, the first frame of the video.
            choices = np.flatnonzero(np.maximum(starts, 0) == 0)
        else:
            choices = references_outside(starts, start, self.spec)
        return utterance * size + int(rng.choice(choices))
