"""Reads audio of any format that FFmpeg supports as float32 mono 16 kHz, whole or as a stream.

Legend: S samples.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from flashtalk.arrays import Pcm
from flashtalk.errors import InputError
from flashtalk.media.files import existing_file
from flashtalk.media.notes import Note, about, quiet
from flashtalk.media.sources import SILENT_PEAK, file_pcm, tracks_with_sound
from flashtalk.streaming.spec import PCM_HZ


@dataclass(frozen=True)
class AudioFacts:
    """Properties of an audio file.

    Args:
        samples: length after conversion to mono at ``pcm_hz``.
        pcm_hz: samples per second.
        peak: largest magnitude; 1.0 is full scale.
    """

    samples: int
    pcm_hz: int
    peak: float

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.pcm_hz


def stream_pcm(path: Path | str, pcm_hz: int = PCM_HZ, note: Note = quiet) -> Iterator[Pcm]:
    """Decodes an audio file packet by packet, in constant memory.

    Packets that cannot be decoded become silence, and so do gaps between packets.

    Args:
        path: any file that FFmpeg reads; of several audio tracks the best one is used.
        pcm_hz: rate to convert to.
        note: called with problems of a usable file.

    Yields:
        float32 [S] mono packets, never empty, of any size.

    Raises:
        InputError: no file, no audio track, no decodable packet, samples that are not finite, an
            invalid sampling rate, gaps of more than an hour, or a file that is shorter than its
            header states.
    """
    yield from file_pcm(existing_file(path, "audio"), pcm_hz, note)


def inspect_audio(path: Path | str, pcm_hz: int = PCM_HZ, note: Note = quiet) -> AudioFacts:
    """Decodes an audio file once to check it and get its length, in constant memory.

    Silence is accepted with a note.

    Raises:
        InputError: as ``stream_pcm``.
    """
    samples, peak = 0, 0.0
    for pcm_S in stream_pcm(path, pcm_hz, note):
        samples += len(pcm_S)
        peak = max(peak, float(np.abs(pcm_S).max()))
    if peak < SILENT_PEAK:
        _note_silence(Path(path), samples / pcm_hz, note)
    return AudioFacts(samples, pcm_hz, peak)


def read_pcm(path: Path | str, pcm_hz: int = PCM_HZ, note: Note = quiet) -> Pcm:
    """Reads a whole audio file as float32 [S] mono.

    Raises:
        InputError: as ``inspect_audio``.
    """
    pcm_S = np.concatenate(list(stream_pcm(path, pcm_hz, note)))
    if np.abs(pcm_S).max() < SILENT_PEAK:
        _note_silence(Path(path), len(pcm_S) / pcm_hz, note)
    return pcm_S


def _note_silence(path: Path, seconds: float, note: Note) -> None:
    if note is quiet:
        return
    note = about("audio", path, note)
    speaking: list[int] = []
    # Problems of the other tracks are not reported.
    with contextlib.suppress(av.FFmpegError, InputError):
        speaking = tracks_with_sound(path)
    if not speaking:
        note(f"silent: {seconds:.2f} s")
        return
    command = f"ffmpeg -i FILE -map 0:{speaking[0]} speech.wav"
    note(f"the decoded track is silent; track {speaking[0]} is not. To extract it: {command}")
