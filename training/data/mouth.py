"""The position of the mouth in latent space, to weight its few positions in the loss.

At 64x64 the lips move in 4 of 64 positions, which contribute little to an unweighted mean.

Legend: B batch, T frames, H W pixels, F latent frames, h w latent size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from flashtalk.streaming.spec import StreamSpec
from training.data.batch import Stage1Batch
from training.data.source.video import KnowsMouths
from training.objective.reconstruction import box_weight


def mouth_cells(source: KnowsMouths, batch: Stage1Batch, spec: StreamSpec) -> Tensor:
    """Returns 1.0 at latent positions with lips in any of their frames, else 0: [B, 1, F, h, w].

    Args:
        source: of the clips.
        batch: of clips.
        spec: geometry of a chunk.
    """
    side = spec.vae_stride_hw
    height, width = (side * cells for cells in batch.z_BCFHW.shape[-2:])
    boxes = [
        torch.from_numpy(source.mouth_boxes(int(video), frames_T, (height, width)))
        for video, frames_T in zip(batch.video_B, batch.frame_BT, strict=True)
    ]
    mask_B1THW = box_weight(torch.stack(boxes), height, width)
    first = F.max_pool3d(mask_B1THW[:, :, :1], (1, side, side))
    later = F.max_pool3d(mask_B1THW[:, :, 1:], (spec.vae_stride_t, side, side))
    return torch.cat([first, later], dim=2)
