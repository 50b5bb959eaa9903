"""Reads audio from a file or a pipe, and notes problems of either.

Legend: S samples.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO

import av
from av.container import InputContainer

from flashtalk.arrays import Pcm
from flashtalk.errors import InputError
from flashtalk.media.decoding import Input, track_pcm
from flashtalk.media.edit_list import Edits, late_pauses, late_pauses_ahead
from flashtalk.media.edited import OPTIONS as EDITED_OPTIONS
from flashtalk.media.notes import Note, about, quiet
from flashtalk.media.riff import WavPart, wav_parts
from flashtalk.media.riff_header import RIFF_BYTES, Ahead, ByteReader, is_wav
from flashtalk.media.sniff import container_of, is_indexed_at_end
from flashtalk.media.tracks import check_rate, decodable_tracks, note_passed_over
from flashtalk.streaming.spec import PCM_HZ

# A recording has no speech below -80 dB of full scale. The usual cases are exact zeros, and what a
# lossy codec makes of them.
SILENT_PEAK = 1e-4
_SPOOLED_BYTES = 2**24
_COPIED_BYTES = 2**16
_BOXES_BYTES = 128  # the first boxes of an MP4
# From a pipe only as much is read before the first sample as is needed to detect the format.
_PIPE_OPTIONS = {"analyzeduration": "200000", "probesize": "65536"}
# A playlist must not open other resources.
_FILE_OPTIONS = {"protocol_whitelist": "file"}


def file_pcm(path: Path, pcm_hz: int, note: Note) -> Iterator[Pcm]:
    """Decodes the audio of an existing file; see ``stream_pcm``."""
    source = Input(path, pcm_hz, about("audio", path, note))
    try:
        with path.open("rb") as file:
            wav = is_wav(file.read(RIFF_BYTES))
            file.seek(0)
            parts = (yield from _wav_pcm(Ahead(file), source)) if wav else 0
        if not parts:
            yield from _tracks_pcm(path, source)
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        raise InputError("audio", path, f"not readable as audio ({reason})") from error
    _check_any(source)


def decode_stream(
    stream: ByteReader,
    name: str,
    pcm_hz: int = PCM_HZ,
    note: Note = quiet,
    *,
    first_bytes: bytes = b"",
) -> Iterator[Pcm]:
    """Decodes the audio of a container from a pipe as it arrives, in constant memory.

    Truncation is only noted, since the audio before it has been used by then. An MP4 with its index
    at the end is buffered (on disk, if it is large) until it is complete.

    Args:
        stream: read to its end; a read may block, and may return fewer bytes than requested.
        name: name in errors and notes.
        pcm_hz: rate to convert to.
        note: called with problems.
        first_bytes: bytes that were already read from the stream.

    Yields:
        float32 [S] mono packets, never empty, of any size.

    Raises:
        InputError: as ``stream_pcm``, except for truncation.
    """
    source = Input(name, pcm_hz, about("audio", name, note), keeps_going=True)
    ahead = Ahead(stream, first_bytes)
    try:
        if is_wav(ahead.look(RIFF_BYTES)):
            yield from _wav_pcm(ahead, source)
        elif _is_needed_whole(ahead):
            with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES) as whole:
                while piece := ahead.read(_COPIED_BYTES):
                    whole.write(piece)
                yield from _whole_pcm(whole, source)
        else:
            with av.open(ahead, "r", options=_PIPE_OPTIONS) as container:
                yield from _first_pcm(container, source)
    except av.FFmpegError as error:
        if not source.samples:
            reason = f"not readable as audio ({error.strerror})"
            raise InputError("audio", name, reason) from error
        source.cut_off(f"damaged ({error.strerror})")
    _check_any(source)
    if source.peak < SILENT_PEAK:
        source.note(f"silent: {source.samples / pcm_hz:.2f} s")


def _is_needed_whole(ahead: Ahead) -> bool:
    """Whether this is an MP4 with its index at the end, or with an edit list that needs seeking."""
    if container_of(ahead.look(_BOXES_BYTES)) != "mp4":
        return False
    return is_indexed_at_end(ahead.look(_BOXES_BYTES)) or bool(late_pauses_ahead(ahead))


def _whole_pcm(whole: IO[bytes], source: Input) -> Iterator[Pcm]:
    """Decodes the first track of a complete MP4."""
    edits: Edits = ()
    pauses = late_pauses(whole)
    whole.seek(0)
    if pauses:
        with av.open(whole, "r") as container:
            edits = pauses.get(decodable_tracks(container, source.value)[0].id, ())
        whole.seek(0)
    with av.open(whole, "r", options=EDITED_OPTIONS if edits else {}) as container:
        yield from _first_pcm(container, source, edits)


def tracks_with_sound(path: Path) -> list[int]:
    """Returns the numbers of the audio tracks of a file that are not silent."""
    with av.open(f"file:{path}", options=_FILE_OPTIONS) as container:
        numbers = [track.index for track in decodable_tracks(container, path)]
    return [number for number in sorted(numbers) if _speaks(path, number)]


def _speaks(path: Path, number: int) -> bool:
    source = Input(path, PCM_HZ, quiet, keeps_going=True)
    with av.open(f"file:{path}", options=_FILE_OPTIONS) as container:
        track = next(track for track in container.streams.audio if track.index == number)
        return any(source.peak >= SILENT_PEAK for _ in track_pcm(container, track, source))


def _wav_pcm(ahead: Ahead, source: Input) -> Generator[Pcm, None, int]:
    """Decodes part by part; an undecodable part does not affect the others.

    Returns:
        The number of parts.
    """
    number = 0
    for number, part in enumerate(wav_parts(ahead, source.note), 1):
        try:
            check_rate(part.header.pcm_hz, source.value)
            with _opened(part, quick=source.keeps_going) as container:
                yield from _first_pcm(container, source)
        except (av.FFmpegError, InputError) as error:
            reason = error.limit if isinstance(error, InputError) else error.strerror
            if number == 1:
                raise
            source.note(f"skipping part {number} of the file: {reason}")
        if part.missing_bytes:
            source.cut_off(f"{part.missing_bytes} bytes of audio are missing")
    return number


def _opened(part: WavPart, *, quick: bool) -> InputContainer:
    """Opens a WAV part; with ``quick`` FFmpeg does not first probe seconds of its samples."""
    raw_format, header = part.header.raw_format, part.header
    if not quick or raw_format is None or not header.channels:
        return av.open(part, "r", format="wav")
    part.leave_header_out()
    options = {"sample_rate": str(header.pcm_hz), "ch_layout": f"{header.channels}C"}
    return av.open(part, "r", format=raw_format, options=options)


def _tracks_pcm(path: Path, source: Input) -> Iterator[Pcm]:
    """Decodes the best track that yields samples."""
    number, edits = 0, _late_pauses_of(path)
    while not source.samples:
        with av.open(f"file:{path}", options=_FILE_OPTIONS) as container:
            tracks = decodable_tracks(container, source.value)
            if number == len(tracks):
                return
            note_passed_over(container, tracks[number], source.note)
            edited = edits.get(tracks[number].id, ())
            if not edited:
                yield from track_pcm(container, tracks[number], source)
        if edited:
            options = _FILE_OPTIONS | EDITED_OPTIONS
            with av.open(f"file:{path}", options=options) as container:
                track = decodable_tracks(container, source.value)[number]
                yield from track_pcm(container, track, source, edited)
        number += 1


def _late_pauses_of(path: Path) -> dict[int, Edits]:
    with path.open("rb") as file:
        is_mp4 = container_of(file.read(_BOXES_BYTES)) == "mp4"
        return late_pauses(file) if is_mp4 else {}


def _first_pcm(container: InputContainer, source: Input, edits: Edits = ()) -> Iterator[Pcm]:
    track = decodable_tracks(container, source.value)[0]
    note_passed_over(container, track, source.note)
    yield from track_pcm(container, track, source, edits)


def _check_any(source: Input) -> None:
    if not source.samples:
        raise InputError("audio", source.value, "contains no audio that can be decoded")
