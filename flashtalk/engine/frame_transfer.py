"""Asynchronous copies of frames from the device to the host, as bytes.

Legend: B batch (1), C channels (3), T frames, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flashtalk.arrays import Frames


@dataclass(frozen=True, eq=False)
class LeavingFrames:
    """Frames that are being copied to the host.

    Args:
        bytes_THWC: uint8 [T, H, W, 3] on the host; from a GPU page-locked and perhaps not filled
            yet.
        copied: event after the copy; ``None`` if there is nothing to wait for.
    """

    bytes_THWC: Tensor
    copied: torch.cuda.Event | None

    def __len__(self) -> int:
        return len(self.bytes_THWC)

    def wait(self) -> Frames:
        """Returns the frames, uint8 [T, H, W, 3]; waits for the copy and for nothing after it."""
        if self.copied is not None:
            self.copied.synchronize()
        frames: Frames = self.bytes_THWC.numpy()
        return frames


def send_frames(video_BCTHW: Tensor) -> LeavingFrames:
    """Starts the conversion of [1, 3, T, H, W] in [-1, 1] to uint8: truncated, as published.

    A GPU copies a quarter of the float32 video's bytes to page-locked memory, and begins its next
    work while the host waits for the frames.
    """
    scaled = ((video_BCTHW[0] + 1) / 2).clamp(0, 1) * 255
    bytes_THWC = scaled.to(torch.uint8).permute(1, 2, 3, 0).contiguous()
    if video_BCTHW.device.type != "cuda":
        return LeavingFrames(bytes_THWC.cpu(), None)
    # torch reuses page-locked memory for the next chunk when these frames are released.
    host = torch.empty(bytes_THWC.shape, dtype=torch.uint8, pin_memory=True)
    host.copy_(bytes_THWC, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(video_BCTHW.device))
    return LeavingFrames(host, copied)


def to_bytes(video_BCTHW: Tensor) -> Frames:
    """``send_frames``, then waits for them."""
    return send_frames(video_BCTHW).wait()
