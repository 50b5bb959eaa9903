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
from training.data.stage1_cache import CONTEXT_FRAMES, Stage1Cache
from training.data.stage1_clips import references_outside
from training.data.stage2_cache import Stage2Cache


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
    """

    reference_BCFHW: Tensor
    clip_BND: Tensor
    speech_BKTWLD: Tensor
    motion_BCMHW: Tensor
    true_motion_BKCMHW: Tensor
    utterance_B: npt.NDArray[np.int64]

    def to(self, device: torch.device) -> Stage2Batch:
        """The same on another device."""
        return replace(
            self,
            reference_BCFHW=self.reference_BCFHW.to(device),
            clip_BND=self.clip_BND.to(device),
            speech_BKTWLD=self.speech_BKTWLD.to(device),
            motion_BCMHW=self.motion_BCMHW.to(device),
            true_motion_BKCMHW=self.true_motion_BKCMHW.to(device),
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
        first = CONTEXT_FRAMES
        total = first + spec.chunk_frames
        self._windows_TW = torch.from_numpy(window_indices(first, total, total))

    def draw(
        self,
        size: int,
        chunks: int,
        rng: np.random.Generator,
        *,
        beginning: bool,
        mine: slice = slice(None),
        utterance_B: npt.NDArray[np.int64] | None = None,
    ) -> Stage2Batch:
        """The first ``chunks`` chunks of ``size`` stretches; all are beginnings, or none.

        Args:
            size: of the global batch.
            chunks: that are rolled out.
            rng: alike on every rank.
            beginning: of streams.
            mine: the rows to load.
            utterance_B: of the global batch; drawn if not given.
        """
        per = self.stretches.plan.per_utterance
        if utterance_B is None:
            utterance_B = rng.integers(0, len(self.stretches) // per, size)
        utterances = utterance_B
        places = np.zeros(size, np.int64) if beginning else rng.integers(1, per, size)
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
        return Stage2Batch(
            reference_BCFHW=reference,
            clip_BND=self.clips.tensor("tokens", references),
            speech_BKTWLD=speech[:, :, self._windows_TW],
            motion_BCMHW=reference[:, :, :1] if beginning else motion[:, 0],
            true_motion_BKCMHW=motion,
            utterance_B=utterances.astype(np.int64),
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
