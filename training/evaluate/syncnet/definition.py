"""Sync-C and Sync-D: their definition, given embeddings of pictures and of speech.

Chung and Zisserman, "Out of time: automated lip sync in the wild" (2016), section 4, and the code
published with it (joonson/syncnet_python, ``SyncNetInstance.evaluate``).

Legend: T windows (one starts at every video frame), D embedding numbers, O offsets -15..15.
"""

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from flashtalk.errors import InputError

MAX_OFFSET_FRAMES = 15


@dataclass(frozen=True)
class SyncScore:
    """``confidence`` is Sync-C, ``distance`` Sync-D; ``offset_frames`` > 0: a late picture."""

    confidence: float
    distance: float
    offset_frames: int


def sync_score(
    video_TD: Tensor, audio_TD: Tensor, *, zero_padded: bool, max_offset: int = MAX_OFFSET_FRAMES
) -> SyncScore:
    """Scores one video.

    The distance of the pictures to the speech is averaged over time for every offset; Sync-D is
    the minimum of these means, Sync-C their median less the minimum, and the offset that of the
    minimum.

    Args:
        video_TD, audio_TD: embeddings, one per window, of equal shape.
        zero_padded: compare with a zero vector if an offset needs speech beyond either end, as in
            the published code.  False drops the first and last ``max_offset`` windows of the
            pictures instead, so that all offsets use the same pictures.

    Raises:
        InputError: shapes differ, or no window would remain.
    """
    if video_TD.shape != audio_TD.shape or video_TD.ndim != 2:
        raise InputError("embeddings", tuple(video_TD.shape), f"{tuple(audio_TD.shape)}, [T, D]")
    count = len(video_TD)
    if count < 1 or (not zero_padded and count <= 2 * max_offset):
        raise InputError("windows", count, f"more than {0 if zero_padded else 2 * max_offset}")
    padded_TD = F.pad(audio_TD, (0, 0, max_offset, max_offset))
    kept = slice(0, count) if zero_padded else slice(max_offset, count - max_offset)
    means = []
    # Speech from ``shift`` frames later; the sign is inverted, since a match with earlier speech
    # (a negative shift) means that the picture is late.
    for place in range(2 * max_offset + 1):
        shifted_TD = padded_TD[place : place + count]
        means.append(float(F.pairwise_distance(video_TD[kept], shifted_TD[kept]).mean()))
    best = int(np.argmin(means))
    # torch.median is the lower middle of an even count; 31 offsets have a unique middle.
    confidence = float(np.median(means)) - means[best]
    return SyncScore(confidence, means[best], max_offset - best)
