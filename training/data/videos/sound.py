"""Sound of a video at given times, mono at 16 kHz, synchronised with its pictures.

Times are seconds on the file's own clock, which is also that of the pictures: a sound track that
begins later or earlier than the pictures keeps its position.

Legend: S samples at 16 kHz, N samples at the track's own rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from scipy.signal import resample_poly

from flashtalk.arrays import Pcm
from flashtalk.streaming import PCM_HZ
from training.data.videos.media_file import MediaFile
from training.data.videos.problems import BadVideoError

_PAD_S = 0.08  # for the resampling filter, whole frames of 25 fps
_HEADSTART_S = 0.5  # mp3 and aac decoders need some packets before their output is correct
# Time stamps vary by the resolution of the container (1 ms in Matroska), and a real gap is longer
# than an audio packet.
_GAP_S = 0.02


@dataclass(frozen=True)
class Sound:
    """Sound of a stretch.

    Args:
        pcm_S: float32, zeros where the track has no sound.
        heard: share of the stretch that the track covers.
    """

    pcm_S: Pcm
    heard: float


def sound_between(media: MediaFile, first_s: float, samples: int) -> Sound:
    """Returns ``samples`` at 16 kHz from ``first_s`` on; of several tracks FFmpeg's choice.

    Raises:
        BadVideoError: no sound track, or not decodable.
    """
    with media.open() as container:
        track = container.streams.best("audio")
        if not isinstance(track, AudioStream) or not track.codec_context.sample_rate:
            raise BadVideoError("no sound", media.key, "the file has no sound that can be decoded")
        hz = track.codec_context.sample_rate
        begin_s = first_s - _PAD_S
        native = np.zeros(round((samples / PCM_HZ + 2 * _PAD_S) * hz), dtype=np.float32)
        filled = np.zeros(len(native), dtype=bool)
        for place, piece in _placed(container, track, begin_s, hz):
            if place >= len(native):
                break
            low, high = max(place, 0), min(place + len(piece), len(native))
            if low < high:
                native[low:high] = piece[low - place : high - place]
                filled[low:high] = True
    pad = round(_PAD_S * hz)
    covered = filled[pad : len(filled) - pad]
    if not np.isfinite(native).all():
        raise BadVideoError("corrupt", media.key, "sound that is not finite")
    pcm_S = _at_16k(native, hz)[round(_PAD_S * PCM_HZ) :][:samples]
    pcm_S = np.pad(pcm_S, (0, samples - len(pcm_S))).astype(np.float32)
    return Sound(pcm_S, float(covered.mean()) if len(covered) else 0.0)


def _at_16k(native_N: Pcm, hz: int) -> Pcm:
    if hz == PCM_HZ:
        return native_N
    ratio = Fraction(PCM_HZ, hz)
    resampled: Pcm = resample_poly(native_N, ratio.numerator, ratio.denominator)
    return resampled


def _placed(
    container: InputContainer, track: AudioStream, begin_s: float, hz: int
) -> Iterator[tuple[int, Pcm]]:
    """Yields pieces of mono sound with their first samples, counted from ``begin_s``."""
    expected: int | None = None
    converter: AudioResampler | None = None
    kind: tuple[str, str, int] | None = None
    for frame in _decoded_from(container, track, begin_s):
        frame_kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if frame_kind != kind:
            converter, kind = AudioResampler(format="flt", layout="mono", rate=hz), frame_kind
        assert converter is not None
        stated = _samples_after(begin_s, frame, hz)
        if expected is None or (stated is not None and abs(stated - expected) > _GAP_S * hz):
            # Without any time stamp the sound is assumed to begin with the file.
            expected = stated if stated is not None else round(-begin_s * hz)
        frame.pts = None
        for converted in converter.resample(frame):
            piece = converted.to_ndarray().reshape(-1).astype(np.float32)
            yield expected, piece
            expected += len(piece)


def _samples_after(begin_s: float, frame: AudioFrame, hz: int) -> int | None:
    if frame.pts is None or frame.time_base is None:
        return None
    return round((float(frame.pts * frame.time_base) - begin_s) * hz)


def _decoded_from(
    container: InputContainer, track: AudioStream, begin_s: float
) -> Iterator[AudioFrame]:
    """Yields frames from at least ``begin_s`` on, if the track begins that early."""
    assert track.time_base is not None
    target = int((begin_s - _HEADSTART_S) / float(track.time_base))
    lowest = min(0, track.start_time or 0)
    if target > lowest:
        container.seek(target, stream=track, backward=True)
        frames = _decoded(container, track)
        first = next(frames, None)
        if first is not None and first.time is not None and first.time <= begin_s:
            yield first
            yield from frames
            return
    container.seek(lowest, stream=track, backward=True)
    yield from _decoded(container, track)


def _decoded(container: InputContainer, track: AudioStream) -> Iterator[AudioFrame]:
    for packet in container.demux(track):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue  # a damaged packet is replaced by silence
        for frame in frames:
            if frame.samples:
                yield frame
