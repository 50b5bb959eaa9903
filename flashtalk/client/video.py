"""Decodes the frames of a session to pictures.

Legend: H W pixels, C channels (3).
"""

from __future__ import annotations

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace

from flashtalk.arrays import Rgb
from flashtalk.errors import InputError
from flashtalk.v1 import media_pb2, stream_pb2


class FrameDecoder:
    """Decodes the frames of one stream, in order.

    Args:
        video_codec: codec of the session.
        size_hw: height and width of the video in pixels.
    """

    def __init__(self, video_codec: int, size_hw: tuple[int, int]) -> None:
        self._raw = video_codec == media_pb2.VIDEO_CODEC_RAW_RGB24
        self._size_hw = size_hw
        self._context = self._new()

    def decode(self, frame: stream_pb2.Frame) -> Rgb:
        """Returns the picture, uint8 [H, W, 3].

        Raises:
            InputError: bytes that are not a valid picture of this codec.
        """
        if self._raw:
            return np.frombuffer(frame.video, np.uint8).reshape(*self._size_hw, 3)
        if frame.key_frame:
            # Every chunk starts a new decoder; an interruption may have cut the previous chunk.
            self._context = self._new()
        try:
            pictures = self._context.decode(av.Packet(frame.video))
        except av.FFmpegError as error:
            raise InputError("video", f"frame {frame.frame_index}", str(error)) from error
        if len(pictures) != 1:
            raise InputError(
                "video", f"frame {frame.frame_index}", "must contain exactly one picture"
            )
        rgb = pictures[0].to_ndarray(
            format="rgb24",
            src_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.MPEG,
        )
        return np.asarray(rgb, np.uint8)

    @staticmethod
    def _new() -> VideoCodecContext:
        context = VideoCodecContext.create("h264", "r")
        assert isinstance(context, VideoCodecContext)
        context.thread_count = 1
        context.flags |= 0x80000  # low delay: every access unit returns its picture at once
        return context
