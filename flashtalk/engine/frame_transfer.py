"""Frames leave the device as bytes, without the host waiting while they do.

Legend: B batch (1), C channels (3), T frames, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flashtalk.arrays import Frames


@dataclass(frozen=True, eq=False)
class LeavingFrames:
    """Frames of which the copy to the host has been asked for.

    Args:
        bytes_THWC: uint8 [T, H, W, 3] on the host; page-locked and perhaps not yet filled if they
            come from a GPU.
        copied: passed when they are there; ``None`` if they were there at once.
    """

    bytes_THWC: Tensor
    copied: torch.cuda.Event | None

    def __len__(self) -> int:
        return len(self.bytes_THWC)

    def wait(self) -> Frames:
        """The frames, uint8 [T, H, W, 3]; waits for the copy and for nothing after it."""
        if self.copied is not None:
            self.copied.synchronize()
        frames: Frames = self.bytes_THWC.numpy()
        return frames


def send_frames(video_BCTHW: Tensor) -> LeavingFrames:
    """[1, 3, T, H, W] in [-1, 1] on their way to uint8: truncated, not rounded, as published.

    A GPU copies a quarter of the float32 video's bytes, into memory that it reaches by itself;
    what is asked of it next it begins while the host still waits for the frames.
    """
    scaled = ((video_BCTHW[0] + 1) / 2).clamp(0, 1) * 255
    bytes_THWC = scaled.to(torch.uint8).permute(1, 2, 3, 0).contiguous()
    if video_BCTHW.device.type != "cuda":
        return LeavingFrames(bytes_THWC.cpu(), None)
    # torch keeps page-locked memory for the next chunk once nobody holds these frames any more.
    host = torch.empty(bytes_THWC.shape, dtype=torch.uint8, pin_memory=True)
    host.copy_(bytes_THWC, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(video_BCTHW.device))
    return LeavingFrames(host, copied)


def to_bytes(video_BCTHW: Tensor) -> Frames:
    """``send_frames``, and wait for them."""
    return send_frames(video_BCTHW).wait()
