"""Where sound comes from: a file, or a pipe; what is odd about either is noted.

Legend: S samples.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO

import av
from av.container import InputContainer

from flashtalk.errors import InputError
from flashtalk.media.decoding import Input, Pcm, track_pcm
from flashtalk.media.edit_list import Edits, late_pauses, late_pauses_ahead
from flashtalk.media.edited import OPTIONS as EDITED_OPTIONS
from flashtalk.media.notes import Note, about, quiet
from flashtalk.media.riff import WavPart, wav_parts
from flashtalk.media.riff_header import RIFF_BYTES, Ahead, ByteReader, is_wav
from flashtalk.media.sniff import container_of, is_indexed_at_end
from flashtalk.media.tracks import check_rate, decodable_tracks, note_passed_over
from flashtalk.streaming.spec import PCM_HZ

# Below -80 dB of full scale nothing in a recording is speech; exact zeros are the usual case,
# and what a lossy codec makes of them is the other.
SILENT_PEAK = 1e-4
_SPOOLED_BYTES = 2**24
_COPIED_BYTES = 2**16
_BOXES_BYTES = 128  # the first boxes of an MP4
# Of a pipe no more is read before the first sample than tells what it holds.
_PIPE_OPTIONS = {"analyzeduration": "200000", "probesize": "65536"}
# No playlist may lead elsewhere.
_FILE_OPTIONS = {"protocol_whitelist": "file"}


def file_pcm(path: Path, pcm_hz: int, note: Note) -> Iterator[Pcm]:
    """The sound of a file that exists; see ``stream_pcm``."""
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
    """The sound of a container that comes through a pipe, as it comes, in constant memory.

    What is cut off is noted, for all before it has been heard by then. An MP4 whose index is at
    its end is kept (on disk, if it is large) until it is complete.

    Args:
        stream: read to its end; reading may wait, and may give less than was asked for.
        name: what errors and notes call it.
        pcm_hz: rate to convert to.
        note: is told what is odd.
        first_bytes: that were read from the stream already.

    Yields:
        float32 [S] mono packets, never empty, of any size.

    Raises:
        InputError: as ``stream_pcm``, but for what is cut off.
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
        source.note(f"silent: {source.samples / pcm_hz:.2f} s without any sound")


def _is_needed_whole(ahead: Ahead) -> bool:
    """An MP4 whose index is at its end, or whose edit list leads back and forth in it."""
    if container_of(ahead.look(_BOXES_BYTES)) != "mp4":
        return False
    return is_indexed_at_end(ahead.look(_BOXES_BYTES)) or bool(late_pauses_ahead(ahead))


def _whole_pcm(whole: IO[bytes], source: Input) -> Iterator[Pcm]:
    """The first track of a complete MP4."""
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
    """Numbers of the sound tracks of a file that are not silent."""
    with av.open(f"file:{path}", options=_FILE_OPTIONS) as container:
        numbers = [track.index for track in decodable_tracks(container, path)]
    return [number for number in sorted(numbers) if _speaks(path, number)]


def _speaks(path: Path, number: int) -> bool:
    source = Input(path, PCM_HZ, quiet, keeps_going=True)
    with av.open(f"file:{path}", options=_FILE_OPTIONS) as container:
        track = next(track for track in container.streams.audio if track.index == number)
        return any(source.peak >= SILENT_PEAK for _ in track_pcm(container, track, source))


def _wav_pcm(ahead: Ahead, source: Input) -> Generator[Pcm, None, int]:
    """Part by part; a part that cannot be decoded is no reason to lose the others.

    Returns:
        How many there were.
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
            source.note(f"part {number} of this file is left out: {reason}")
        if part.missing_bytes:
            source.cut_off(f"{part.missing_bytes} bytes of its sound are missing")
    return number


def _opened(part: WavPart, *, quick: bool) -> InputContainer:
    """FFmpeg reads seconds of a WAV before it believes that the samples in it are samples."""
    raw_format, header = part.header.raw_format, part.header
    if not quick or raw_format is None or not header.channels:
        return av.open(part, "r", format="wav")
    part.leave_header_out()
    options = {"sample_rate": str(header.pcm_hz), "ch_layout": f"{header.channels}C"}
    return av.open(part, "r", format=raw_format, options=options)


def _tracks_pcm(path: Path, source: Input) -> Iterator[Pcm]:
    """The best track that gives anything."""
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
        raise InputError("audio", source.value, "holds no sound that can be decoded")
