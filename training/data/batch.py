"""Batches of a step, and the cache rows that they consist of.

Legend: B batch, C latent channels, F latent frames, h w latent size, M motion latents, N image
tokens, D width, T frames of a chunk (33), W window (5), L layers, K chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from flashtalk.arrays import BoolArray, IntArray


@dataclass(frozen=True)
class Picks:
    """The clips of a Stage 1 batch: rows of one bucket's cache.

    Args:
        bucket: its number.
        row_B: int64, rows of the clips.
        reference_B: int64, rows of the clips whose first frames are the references.
        cold_B: bool, the reference is the clip's own first frame.
    """

    bucket: int
    row_B: IntArray
    reference_B: IntArray
    cold_B: BoolArray

    def rows(self, mine: slice) -> Picks:
        """Returns a part of them."""
        return Picks(self.bucket, self.row_B[mine], self.reference_B[mine], self.cold_B[mine])

    def rotated(self) -> Picks:
        """Returns them rotated by one: each clip is replaced by the previous one."""
        return Picks(
            self.bucket,
            np.roll(self.row_B, 1),
            np.roll(self.reference_B, 1),
            np.roll(self.cold_B, 1),
        )


@dataclass(frozen=True)
class Stage1Batch:
    """The inputs of one step of Stage 1 from the cache, float32.

    Args:
        z_BCFHW: latents of the clips.
        reference_BCFHW: conditioning latents of the references.
        image_BND: image tokens of the references.
        speech_BTWLD: audio windows.
        cold_B: bool, the reference is the clip's own first frame.
        video_B: int64, numbers of the videos in the source.
        frame_BT: int64, numbers of their frames.
    """

    z_BCFHW: Tensor
    reference_BCFHW: Tensor
    image_BND: Tensor
    speech_BTWLD: Tensor
    cold_B: BoolArray
    video_B: IntArray
    frame_BT: IntArray


@dataclass(frozen=True)
class Stage2Batch:
    """The inputs of one rollout, float32.

    Args:
        reference_BCFHW: conditioning latents of the portrait.
        image_BND: image tokens of the portrait.
        speech_BKTWLD: audio windows of each chunk.
        motion_BCMHW: motion latents of the first chunk: one latent, the portrait's, at the
            beginning of a stream, else two of the true video.
        true_motion_BKCMHW: motion latents of the true video at every chunk.
        video_B: int64, numbers of the videos in the source.
        held_B: int64, number of valid latents in ``motion_BCMHW``: in mixed batches there are
            two of each, and the second one of a beginning is zero.
    """

    reference_BCFHW: Tensor
    image_BND: Tensor
    speech_BKTWLD: Tensor
    motion_BCMHW: Tensor
    true_motion_BKCMHW: Tensor
    video_B: IntArray
    held_B: Tensor

    def rows(self, rows: Tensor) -> Stage2Batch:
        """Returns some of the samples."""
        part = self._each(lambda tensor: tensor[rows])
        return replace(part, video_B=self.video_B[rows.cpu().numpy()])

    def to(self, device: torch.device) -> Stage2Batch:
        """Copies the batch to another device."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Stage2Batch:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed = {n: change(v) for n, v in values.items() if isinstance(v, Tensor)}
        return Stage2Batch(**{**values, **changed})
