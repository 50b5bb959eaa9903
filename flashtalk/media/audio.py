"""Sound files of any kind that FFmpeg reads, as float32 mono 16 kHz, whole or as a stream.

Legend: S samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from flashtalk.errors import InputError
from flashtalk.media.files import existing_file
from flashtalk.media.riff import missing_wav_bytes

PCM_HZ = 16_000
# Below -80 dB of full scale nothing in a recording is speech; exact zeros are the usual case,
# and what a lossy codec makes of them is the other.
SILENT_PEAK = 1e-4
# Formats whose header states the length exactly, so that a file that ends earlier was cut off.
_EXACT_LENGTH = frozenset({"flac", "aiff", "caf", "mov,mp4,m4a,3gp,3g2,mj2"})
_CUT_OFF_S = 0.5

Pcm = npt.NDArray[np.float32]


@dataclass(frozen=True)
class AudioFacts:
    """What a sound file holds.

    Args:
        samples: length after conversion to mono at ``pcm_hz``.
        pcm_hz: samples per second.
        peak: largest magnitude, 1.0 being full scale.
    """

    samples: int
    pcm_hz: int
    peak: float

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.pcm_hz


def stream_pcm(path: Path | str, pcm_hz: int = PCM_HZ) -> Iterator[Pcm]:
    """Decode a sound file packet by packet, in constant memory.

    Packets that cannot be decoded are skipped, as players do (mp3 files often begin with one).

    Args:
        path: any file that FFmpeg reads; of several sound tracks the best one is taken.
        pcm_hz: rate to convert to.

    Yields:
        float32 [S] mono packets, never empty, of any size.

    Raises:
        InputError: no file, no sound in it, nothing that can be decoded, samples that are not
            finite, or a file that ends before the length that its own header states.
    """
    source = _complete_file(path)
    samples = 0
    try:
        # Only this file: no playlist may lead elsewhere.
        with av.open(f"file:{source}", options={"protocol_whitelist": "file"}) as container:
            track = _sound_track(container, source)
            for pcm_S in _packets(container, track, pcm_hz):
                if not np.isfinite(pcm_S).all():
                    raise InputError("audio", source, "holds NaN or infinite samples")
                samples += len(pcm_S)
                yield pcm_S
            declared_s = _declared_seconds(container, track)
    except av.FFmpegError as error:
        raise InputError("audio", source, f"not readable as audio ({error.strerror})") from error
    if not samples:
        raise InputError("audio", source, "holds no sound that can be decoded")
    if declared_s > samples / pcm_hz + _CUT_OFF_S:
        cut = f"states {declared_s:.2f} s, holds {samples / pcm_hz:.2f} s"
        raise InputError("audio", source, f"cut off: {cut}")


def inspect_audio(path: Path | str, pcm_hz: int = PCM_HZ) -> AudioFacts:
    """Decode a sound file once to learn its length and that it can be used, in constant memory.

    Raises:
        InputError: as ``stream_pcm``, or the file is silent from start to end.
    """
    samples, peak = 0, 0.0
    for pcm_S in stream_pcm(path, pcm_hz):
        samples += len(pcm_S)
        peak = max(peak, float(np.abs(pcm_S).max()))
    if peak < SILENT_PEAK:
        raise InputError("audio", path, f"silent: {samples / pcm_hz:.2f} s without any sound")
    return AudioFacts(samples, pcm_hz, peak)


def read_pcm(path: Path | str, pcm_hz: int = PCM_HZ) -> Pcm:
    """A whole sound file as float32 [S] mono.

    Raises:
        InputError: as ``inspect_audio``.
    """
    pcm_S = np.concatenate(list(stream_pcm(path, pcm_hz)))
    if np.abs(pcm_S).max() < SILENT_PEAK:
        raise InputError("audio", path, f"silent: {len(pcm_S) / pcm_hz:.2f} s without any sound")
    return pcm_S


def _complete_file(path: Path | str) -> Path:
    source = existing_file(path, "audio")
    if missing := missing_wav_bytes(source):
        raise InputError("audio", source, f"cut off: {missing} bytes of its sound are missing")
    return source


def _sound_track(container: InputContainer, source: Path) -> AudioStream:
    track = container.streams.best("audio")
    if not isinstance(track, AudioStream):
        raise InputError("audio", source, "holds no sound")
    if not track.codec_context.sample_rate:
        raise InputError("audio", source, "holds no sound that can be decoded")
    return track


def _packets(container: InputContainer, track: AudioStream, pcm_hz: int) -> Iterator[Pcm]:
    resampler: AudioResampler | None = None
    kind: tuple[str, str, int] | None = None
    for frame in _frames(container, track):
        frame_kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler is None or frame_kind != kind:
            # The kind may change within a file (chained ogg): finish with the old one first.
            if resampler is not None:
                yield from _converted(resampler, None)
            resampler, kind = AudioResampler(format="flt", layout="mono", rate=pcm_hz), frame_kind
        frame.pts = None
        yield from _converted(resampler, frame)
    if resampler is not None:
        yield from _converted(resampler, None)


def _frames(container: InputContainer, track: AudioStream) -> Iterator[av.AudioFrame]:
    for packet in container.demux(track):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in frames:
            if frame.samples:
                yield frame


def _converted(resampler: AudioResampler, frame: av.AudioFrame | None) -> Iterator[Pcm]:
    for converted in resampler.resample(frame):
        pcm_S = converted.to_ndarray().reshape(-1).astype(np.float32)
        if len(pcm_S):
            yield pcm_S


def _declared_seconds(container: InputContainer, track: AudioStream) -> float:
    if container.format.name not in _EXACT_LENGTH:
        return 0.0
    return float((track.duration or 0) * (track.time_base or 0))
