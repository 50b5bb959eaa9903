"""Converts pictures, audio and access units for PyAV; shared by the video writers.

Legend: H W pixels, C channels (3), S samples.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from flashtalk.arrays import Pcm, Rgb

_BT709 = 1  # H.273 code of primaries, transfer and matrix
_AAC_BITS_PER_S = 64_000


def set_color(context: VideoCodecContext) -> None:
    """Sets BT.709, limited range, the format of ``picture``."""
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = ColorRange.MPEG


def picture(rgb_HWC: Rgb, index: int, fps: int) -> av.VideoFrame:
    """Converts uint8 [H, W, 3] to the frame with number ``index``, ready for encoding."""
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb_HWC), format="rgb24")
    frame = rgb.reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
    )
    frame.pts, frame.time_base = index, Fraction(1, fps)
    return frame


def sound(pcm_S: Pcm, index: int, fps: int, pcm_hz: int) -> av.AudioFrame:
    """Converts float32 [S], clipped to [-1, 1], to the audio of the frame with number ``index``."""
    limited = pcm_S.clip(-1, 1).astype(np.float32)[None]
    frame = av.AudioFrame.from_ndarray(limited, format="flt", layout="mono")
    frame.sample_rate = pcm_hz
    frame.pts, frame.time_base = index * (pcm_hz // fps), Fraction(1, pcm_hz)
    return frame


def access_unit(
    video: bytes, track: VideoStream, index: int, fps: int, *, key_frame: bool
) -> Packet[Any]:
    """Converts H.264 of the frame with number ``index`` to a packet, ready for muxing."""
    packet: Packet[Any] = Packet(video)
    # Not the track's own time base: the container may have chosen another one by now.
    packet.stream, packet.time_base = track, Fraction(1, fps)
    packet.pts = packet.dts = index
    packet.duration, packet.is_keyframe = 1, key_frame
    return packet


def unit_track(container: OutputContainer, fps: int, size_hw: tuple[int, int]) -> VideoStream:
    """Adds a track for access units."""
    height, width = size_hw
    track = container.add_mux_stream("h264", rate=fps, width=width, height=height)
    assert isinstance(track, VideoStream)
    track.time_base = Fraction(1, fps)
    return track


def sound_track(container: OutputContainer, pcm_hz: int) -> AudioStream:
    """Adds a track of AAC, one channel."""
    track = container.add_stream("aac", rate=pcm_hz, layout="mono")
    track.bit_rate = _AAC_BITS_PER_S
    return track
