"""H.264 of one chunk: a closed group of pictures, one access unit per frame.

The first picture is an IDR picture with its parameter sets, pictures are not reordered, and the
encoder uses one thread. So equal frames give equal bytes on any worker, and a decoder may start at
any chunk.

Legend: H W pixels, C channels (3).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from av.video.codeccontext import VideoCodecContext

from flashtalk.arrays import Rgb
from flashtalk.errors import InputError
from flashtalk.media.packets import picture, set_color

_OPTIONS = {
    "preset": "veryfast",
    "tune": "zerolatency",
    "crf": "19",
    "bf": "0",
    "x264-params": "threads=1:keyint=infinite:scenecut=0:repeat-headers=1:annexb=1",
}


class ChunkEncoder:
    """Encodes the frames of one chunk one by one.

    Args:
        size_hw: height and width in pixels, even numbers.
        fps: frames per second.

    Raises:
        InputError: a size that H.264 cannot store.
    """

    def __init__(self, *, size_hw: tuple[int, int], fps: int) -> None:
        if min(size_hw) <= 0 or size_hw[0] % 2 or size_hw[1] % 2:
            raise InputError("size", f"{size_hw[1]}x{size_hw[0]}", "width and height must be even")
        self._size_hw, self._fps, self._frames = size_hw, fps, 0
        context = VideoCodecContext.create("libx264", "w")
        assert isinstance(context, VideoCodecContext)
        context.height, context.width = size_hw
        context.pix_fmt = "yuv420p"
        context.time_base = Fraction(1, fps)
        context.framerate = Fraction(fps)
        context.thread_count = 1
        set_color(context)
        context.options = dict(_OPTIONS)
        self._context = context

    def encode(self, rgb_HWC: Rgb) -> bytes:
        """Returns the access unit of the next frame, Annex B.

        Args:
            rgb_HWC: uint8 [H, W, 3].

        Raises:
            InputError: another shape or type.
        """
        expected = (*self._size_hw, 3)
        if rgb_HWC.shape != expected or rgb_HWC.dtype != np.uint8:
            raise InputError("frame", list(rgb_HWC.shape), f"uint8 {list(expected)}")
        frame = picture(rgb_HWC, self._frames, self._fps)
        self._frames += 1
        packets = self._context.encode(frame)
        if len(packets) != 1:
            raise RuntimeError(f"{len(packets)} access units for one frame")
        return bytes(packets[0])
