"""Pictures of a video at given times, independent of its frame rate.

Times are seconds on the file's own clock. Pictures are upright (quarter turns in the file's
metadata, as from phones, are applied) and have square pixels.

Legend: T frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from flashtalk.arrays import Frames, Rgb
from training.data.buckets import SizeHW
from training.data.videos.media_file import MediaFile
from training.data.videos.problems import BadVideoError

Fit = Callable[[Rgb], Rgb]

# How far before the requested time reading starts. A retry reads more: the key frame in the file's
# table may be shown after the requested picture.
_HEADSTARTS_S = (0.0, 1.0, 5.0)
_TIE_S = 1e-6  # less than any clock's tick: times half-way between two pictures are a tie


@dataclass(frozen=True)
class Survey:
    """The properties of a stretch of a video, found by decoding it once.

    Args:
        zero_s: time of the file's first picture on the file's clock; 0 of the video's.
        end_s: end of the last picture of the stretch on the video's clock.
        fps: pictures per second, on average.
        size_hw: upright, with square pixels.
        corrupt: number of pictures that the decoder had to guess.
    """

    zero_s: float
    end_s: float
    fps: float
    size_hw: SizeHW
    corrupt: int


def survey(media: MediaFile, start_s: float = 0.0, end_s: float | None = None) -> Survey:
    """Decodes the pictures from ``start_s`` to ``end_s`` of a video, and discards them.

    Raises:
        BadVideoError: not decodable, no pictures, or none in that stretch.
    """
    with media.open() as container:
        stream = _stream(container, media)
        first = next(_decoded(container, stream), None)
        if first is None:
            raise BadVideoError("no pictures", media.key, "no picture can be decoded")
        zero_s, size_hw = _time(first), _upright_size(first, _squareness(stream))
        times: list[float] = []
        corrupt = 0
        for frame in _from(container, stream, zero_s + start_s, zero_s):
            time_s = _time(frame) - zero_s
            if end_s is not None and time_s >= end_s:
                break
            times.append(time_s)
            corrupt += int(frame.is_corrupt and time_s >= start_s)
        return _surveyed(media, stream, start_s, Survey(zero_s, 0.0, 0.0, size_hw, corrupt), times)


def glance(media: MediaFile, start_s: float = 0.0, end_s: float | None = None) -> Survey:
    """As ``survey``, but reads times without decoding: damage inside is not found.

    Raises:
        BadVideoError: as ``survey``.
    """
    with media.open() as container:
        stream = _stream(container, media)
        assert stream.time_base is not None
        first = next(_decoded(container, stream), None)
        if first is None:
            raise BadVideoError("no pictures", media.key, "no picture can be decoded")
        zero_s, size_hw = _time(first), _upright_size(first, _squareness(stream))
        container.seek(int((zero_s + start_s) / float(stream.time_base)), stream=stream)
        times: list[float] = []
        for packet in container.demux(stream):
            if packet.pts is None or packet.is_discard:
                continue
            time_s = float(packet.pts * stream.time_base) - zero_s
            if end_s is not None and float((packet.dts or 0) * stream.time_base) - zero_s >= end_s:
                break
            if time_s >= 0 and (end_s is None or time_s < end_s):
                times.append(time_s)
        return _surveyed(media, stream, start_s, Survey(zero_s, 0.0, 0.0, size_hw, 0), times)


def _surveyed(
    media: MediaFile, stream: VideoStream, start_s: float, seen: Survey, times: list[float]
) -> Survey:
    """Returns ``seen`` with its end and rate, from the times of its pictures."""
    steps = np.diff(np.unique(times))
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    usual_s = float(np.median(steps)) if len(steps) else 1.0 / (rate or 25.0)
    stop_s = max(times) + usual_s if times else 0.0
    if stop_s <= start_s:
        limit = f"starts at {start_s:.2f} s, where the pictures end at {stop_s:.2f} s"
        raise BadVideoError("outside", media.key, limit)
    return replace(seen, end_s=stop_s, fps=rate or 1.0 / usual_s)


def frames_at(media: MediaFile, time_T: Sequence[float], fit: Fit) -> Frames:
    """Returns the picture nearest to each ascending ``time_T``; the earlier one of two.

    Args:
        media: the video.
        time_T: seconds on the file's clock.
        fit: crops and scales an upright uint8 [H, W, 3] to its size.

    Returns:
        uint8 [T, H, W, 3].

    Raises:
        BadVideoError: not decodable, or the file ends more than half a second before.
    """
    with media.open() as container:
        stream = _stream(container, media)
        square = _squareness(stream)
        shown: list[Rgb] = []
        last: VideoFrame | None = None
        fitted: Rgb | None = None  # of ``last``: slow videos show a picture several times
        for frame in _from(container, stream, time_T[0], None):
            while last is not None and len(shown) < len(time_T):
                wanted_s = time_T[len(shown)]
                if wanted_s - _time(last) > _time(frame) - wanted_s + _TIE_S:
                    break
                fitted = _fitted(last, square, fit, media) if fitted is None else fitted
                shown.append(fitted)
            last, fitted = frame, None
            if len(shown) == len(time_T):
                break
        if last is None or time_T[-1] - _time(last) > 0.5:
            ends = "nothing" if last is None else f"{_time(last):.2f} s"
            raise BadVideoError("corrupt", media.key, f"ends at {ends}, not {time_T[-1]:.2f} s")
        while len(shown) < len(time_T):
            fitted = _fitted(last, square, fit, media) if fitted is None else fitted
            shown.append(fitted)
    return np.stack(shown)


def _stream(container: InputContainer, media: MediaFile) -> VideoStream:
    if not container.streams.video:
        raise BadVideoError("no pictures", media.key, "the file has no video stream")
    return container.streams.video[0]


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Yields frames with a time, in display order; the decoder skips damaged packets."""
    latest_s = -np.inf
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in frames:
            if frame.pts is not None and _time(frame) > latest_s:
                latest_s = _time(frame)
                yield frame


def _from(
    container: InputContainer, stream: VideoStream, time_s: float, zero_s: float | None
) -> Iterator[VideoFrame]:
    """Yields frames from the one shown at ``time_s`` on, after possible earlier ones."""
    assert stream.time_base is not None
    for headstart_s in _HEADSTARTS_S:
        target = int(np.floor((time_s - headstart_s) / float(stream.time_base)))
        container.seek(target, stream=stream, backward=True)
        frames = _decoded(container, stream)
        first = next(frames, None)
        if first is not None and (_time(first) <= time_s or _time(first) == zero_s):
            yield first
            yield from frames
            return
    container.seek(_beginning(stream), stream=stream, backward=True)
    yield from _decoded(container, stream)


def _beginning(stream: VideoStream) -> int:
    return min(0, stream.start_time or 0)


def _time(frame: VideoFrame) -> float:
    assert frame.pts is not None
    assert frame.time_base is not None
    return float(frame.pts * frame.time_base)


def _quarter_turns(frame: VideoFrame) -> int:
    """Returns the counterclockwise quarter turns to the upright picture."""
    return round(frame.rotation / 90) % 4


def _squareness(stream: VideoStream) -> float:
    """Returns the width of a pixel over its height."""
    ratio = stream.sample_aspect_ratio
    return float(ratio) if ratio else 1.0


def _upright_size(frame: VideoFrame, square: float) -> SizeHW:
    size = (frame.height, round(frame.width * square))
    return (size[1], size[0]) if _quarter_turns(frame) % 2 else size


def _fitted(frame: VideoFrame, square: float, fit: Fit, media: MediaFile) -> Rgb:
    if frame.is_corrupt:
        raise BadVideoError("corrupt", media.key, f"a damaged picture at {_time(frame):.2f} s")
    picture = frame.to_ndarray(format="rgb24", width=round(frame.width * square))
    upright: Rgb = np.ascontiguousarray(np.rot90(picture, _quarter_turns(frame)), np.uint8)
    return fit(upright)
