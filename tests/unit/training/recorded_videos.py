"""Small real video files whose every picture says its number, and whose sound clicks on time."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from flashtalk.arrays import Pcm, Rgb

BITS = 10
_CLOCK = 90_000


def numbered(number: int, size_hw: tuple[int, int] = (48, 80)) -> Rgb:
    """A picture with its number in ten black or white bars, first bit on the left."""
    bars = np.arange(size_hw[1]) * BITS // size_hw[1]
    row = (((number >> bars) & 1) * 200 + 25).astype(np.uint8)
    return np.broadcast_to(row[None, :, None], (*size_hw, 3)).copy()


def number_of(picture_HWC: Rgb) -> int:
    """The number in a picture."""
    width = picture_HWC.shape[1] / BITS
    middle = picture_HWC.shape[0] // 2
    return sum(
        1 << bit
        for bit in range(BITS)
        if picture_HWC[middle, int((bit + 0.5) * width)].mean() > 125
    )


def clicks(at_s: Sequence[float], seconds: float, hz: int = 16_000) -> Pcm:
    """Silence with bursts of 10 ms at the given times."""
    pcm = np.zeros(round(seconds * hz), np.float32)
    burst = 0.8 * np.sin(2 * np.pi * 1000 * np.arange(hz // 100) / hz).astype(np.float32)
    for time_s in at_s:
        first = round(time_s * hz)
        pcm[first : first + len(burst)] = burst[: len(pcm) - first]
    return pcm


def hum(seconds: float, hz: int = 16_000, pitch_hz: float = 220.0) -> Pcm:
    """A steady tone."""
    return 0.3 * np.sin(2 * np.pi * pitch_hz * np.arange(round(seconds * hz)) / hz).astype(
        np.float32
    )


def write_video(
    path: Path,
    times_s: Sequence[float],
    pcm: Pcm | None = None,
    *,
    hz: int = 16_000,
    sound_at_s: float = 0.0,
    size_hw: tuple[int, int] = (48, 80),
    codec: str = "libx264",
    audio_codec: str = "aac",
    turned: int = 0,
    picture: Callable[[int, tuple[int, int]], Rgb] = numbered,
) -> Path:
    """A video whose pictures are shown at ``times_s``; sound begins at ``sound_at_s``.

    Key frames are rare and pictures are reordered, so that seeking is not easy.
    """
    with av.open(str(path), "w") as container:
        rate = Fraction(len(times_s) - 1) / Fraction(times_s[-1] - times_s[0]).limit_denominator(
            10_000
        )
        options = {
            "g": "40",
            "bf": "2",
            "preset": "ultrafast",
            "crf": "20",
            "x264-params": "bframes=2",
        }
        video = container.add_stream(codec, rate=rate.limit_denominator(1001), options=options)
        assert isinstance(video, VideoStream)
        video.height, video.width = size_hw
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = Fraction(1, _CLOCK)
        if turned:
            video.set_display_rotation(turned)
        sound: AudioStream | None = None
        if pcm is not None:
            stream = container.add_stream(audio_codec, rate=hz, layout="mono")
            assert isinstance(stream, AudioStream)
            sound = stream
        for number, time_s in enumerate(times_s):
            frame = VideoFrame.from_ndarray(picture(number, size_hw), format="rgb24")
            frame.pts, frame.time_base = round(time_s * _CLOCK), Fraction(1, _CLOCK)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None and pcm is not None:
            for first in range(0, len(pcm), 1024):
                piece = AudioFrame.from_ndarray(
                    pcm[None, first : first + 1024], format="fltp", layout="mono"
                )
                piece.sample_rate = hz
                piece.pts, piece.time_base = first + round(sound_at_s * hz), Fraction(1, hz)
                container.mux(sound.encode(piece))
            container.mux(sound.encode(None))
    return path
