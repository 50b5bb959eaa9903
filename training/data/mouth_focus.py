"""Where the mouth is in latent space, to give its few positions their share of the loss.

At 64x64 the lips move in 4 of 64 positions; an unweighted mean spends its effort elsewhere.

Legend: B batch, T frames, H W pixels, F latent frames, h w latent size.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from flashtalk.streaming.spec import StreamSpec
from training.data.stage1_cache import Stage1Cache
from training.data.stage1_clips import clip_frame_rows
from training.data.synthtalk import SynthTalk, mouth_box
from training.losses.reconstruction import box_weight


def mouth_positions(
    source: SynthTalk, cache: Stage1Cache, clips: Iterable[int], spec: StreamSpec
) -> Tensor:
    """1.0 at latent positions that a lip touches in any of their frames, else 0: [B, 1, F, h, w].

    Args:
        source: the split that the cache was made from.
        cache: clips by row.
        clips: rows of the cache.
        spec: geometry of a chunk.
    """
    boxes = []
    for clip in clips:
        utterance = cache.utterance_of(int(clip))
        rows = clip_frame_rows(int(cache.arrays["start"][clip]), spec)
        tracks = source.arrays["tracks"][utterance][rows]
        boxes.append(
            torch.from_numpy(mouth_box(tracks, source.identity(utterance), source.config.size_hw))
        )
    mask_B1THW = box_weight(torch.stack(boxes), *source.config.size_hw)
    side = spec.vae_stride_hw
    first = F.max_pool3d(mask_B1THW[:, :, :1], (1, side, side))
    later = F.max_pool3d(mask_B1THW[:, :, 1:], (spec.vae_stride_t, side, side))
    return torch.cat([first, later], dim=2)
