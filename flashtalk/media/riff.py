"""Reads real-world WAV: missing, placeholder or wrong lengths, and concatenated files.

FFmpeg trusts the header, so it gets a corrected one. ``wav_parts`` reads a WAV file or stream once,
from its beginning, and returns its audio after a header without a length. Programs that write to a
pipe do not know the length and write 0, 2^31, 2^32 or another large number; speech services send
one file for each sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from flashtalk.media.notes import Note, quiet
from flashtalk.media.riff_header import (
    RIFF_BYTES,
    Ahead,
    WavHeader,
    is_chunk,
    is_wav,
    read_header,
    skip_chunk,
)

# The accepted error of a length, as in the other formats.
CUT_OFF_S = 0.5
# A complete header inside the audio is not audio. Ten or more such bytes do not occur by chance.
_PART = re.compile(rb"(?:RIFF|RF64|BW64)[\s\S]{4}WAVE(?:fmt |ds64|JUNK|junk|LIST|bext|fact)")
_PART_BYTES, _FORM, _FORM_AT = 16, b"WAVE", 8
_MOST_CHUNKS = 1_000
# After the audio: less data is a newline or padding, and these chunks are metadata.
_LEAST_S = 0.01
_TAGS = (b"TAG", b"ID3", b"APETAGEX")
_PIECE_BYTES = 2**16
# If nine tenths of more than an hour are missing, the stated length is a placeholder. So is a round
# length; some programs subtract the header or a part of it.
_LONG_S, _LITTLE = 3_600.0, 0.1
_ROUND = (10**6, 2**20)
_HEADERS = (0, 1, 8, 36, 44)


class WavPart:
    """Audio of one format as a WAV file that can be read once; ends with the audio.

    Attributes:
        header: its header.
        missing_bytes: bytes that the header states and the file lacks, known at the end.
    """

    def __init__(self, source: Ahead, header: WavHeader, note: Note) -> None:
        self.header = header
        self._source, self._note = source, note
        self._pieces = self._all()
        self._rest = header.begin()
        self.missing_bytes = 0
        self.next: WavHeader | None = None

    def leave_header_out(self) -> None:
        """Omits the header, so that ``read`` returns samples only."""
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """Returns at most ``size`` bytes; none at the end."""
        if not self._rest:
            self._rest = next(self._pieces, b"")
        given, self._rest = self._rest[:size], self._rest[size:]
        return given

    def _all(self) -> Iterator[bytes]:
        """Yields the audio, including that of following parts with the same format."""
        header: WavHeader | None = self.header
        while header is not None:
            yield from _whole_steps(self._one(header), header.step_bytes)
            if not is_wav(self._source.look(RIFF_BYTES)):
                return
            header = read_header(self._source)
            if header is None:
                self._note("another file follows the audio but contains no audio")
            elif header.fmt != self.header.fmt:
                self.next, header = header, None

    def _one(self, header: WavHeader) -> Iterator[bytes]:
        """Yields audio to the end that its header states, the next header, or the end of file."""
        given = 0
        for piece in self._sound(header.stated_bytes or None):
            given += len(piece)
            yield piece
        if given < header.stated_bytes:
            if not is_wav(self._source.look(RIFF_BYTES)):
                self._judge(header, given)
            return
        self._skip_chunks(header.stated_bytes)
        if is_wav(self._source.look(RIFF_BYTES)):
            return
        if self._is_sound(header):
            yield from self._sound(None)

    def _sound(self, stated: int | None) -> Iterator[bytes]:
        """Yields ``stated`` bytes, or all; never a header."""
        left = 2**63 if stated is None else stated
        while left:
            held = self._source.look(_PART_BYTES)
            held = self._source.held()[: left + _PART_BYTES]
            found = _find_part(held)
            if 0 <= found < left:
                left = size = found
            elif self._source.ended:
                size = min(len(held), left)
            else:
                size = min(max(len(held) - _PART_BYTES + 1, 1), left)
            if size:
                yield self._source.read(min(size, _PIECE_BYTES))
            if not size or (self._source.ended and not self._source.held()):
                return
            left -= min(size, _PIECE_BYTES)

    def _skip_chunks(self, stated: int) -> None:
        padded = self._source.look(5)
        # A zero byte that is half a sample beyond the stated length looks the same.
        if stated % 2 and padded[:1] == b"\0" and is_chunk(padded[1:]):
            self._source.skip(1)
        for _ in range(_MOST_CHUNKS):
            head = self._source.look(RIFF_BYTES)
            if is_wav(head) or not is_chunk(head):
                return
            self._source.skip(8)
            skip_chunk(self._source, int.from_bytes(head[4:8], "little"))

    def _is_sound(self, header: WavHeader) -> bool:
        """Whether the next bytes are audio beyond the stated length; if not, skips them."""
        if not header.stated_bytes:
            return True
        much = int(CUT_OFF_S * header.bytes_per_s)
        follows = self._source.look(max(much, _PART_BYTES))
        found = _find_part(follows)
        if found >= 0:
            follows = follows[:found]
        if len(follows) < _LEAST_S * header.bytes_per_s or follows.startswith(_TAGS):
            self._source.skip(len(follows))
            return False
        if not any(follows):
            return False
        if len(follows) >= much:
            stated_s = header.stated_bytes / header.bytes_per_s
            self._note(
                f"the header gives only {stated_s:.2f} s of audio; using all audio in the file"
            )
        return True

    def _judge(self, header: WavHeader, given: int) -> None:
        """Handles a file that ended too early."""
        missing = header.stated_bytes - given
        if missing <= CUT_OFF_S * header.bytes_per_s:
            return
        stated_s, held_s = (size / header.bytes_per_s for size in (header.stated_bytes, given))
        rounded = is_round(header.stated_bytes) and held_s < _LITTLE * stated_s
        if header.unfinished or rounded or is_made_up(stated_s, held_s):
            self._note(f"the header gives {stated_s:.0f} s of audio; using the audio in the file")
        else:
            self.missing_bytes = missing


def wav_parts(source: Ahead, note: Note = quiet) -> Iterator[WavPart]:
    """Yields the parts of a WAV file or stream; read each part to its end before the next.

    Args:
        source: positioned at the first byte (``is_wav``).
        note: called with problems.
    """
    header = read_header(source)
    while header is not None:
        part = WavPart(source, header, note)
        yield part
        while part.read(_PIECE_BYTES):
            pass
        header = part.next


def is_made_up(stated_s: float, held_s: float) -> bool:
    """Whether a stated length is a placeholder, compared with the real one."""
    return stated_s > _LONG_S and held_s < _LITTLE * stated_s


def is_round(stated_bytes: int) -> bool:
    """Whether a length is a round number, and so a placeholder."""
    return any((stated_bytes + more) % step == 0 for more in _HEADERS for step in _ROUND)


def _find_part(data: bytes) -> int:
    """Returns the offset of a WAV header; -1 if there is none."""
    at = data.find(_FORM, _FORM_AT)
    while at >= 0 and not _PART.match(data, at - _FORM_AT):
        at = data.find(_FORM, at + 1)
    return at - _FORM_AT if at >= 0 else -1


def _whole_steps(pieces: Iterator[bytes], step: int) -> Iterator[bytes]:
    """Drops a partial last sample, which would misalign the samples of the next part."""
    rest = b""
    for piece in pieces:
        joined = rest + piece
        whole = len(joined) // step * step
        rest = joined[whole:]
        if whole:
            yield joined[:whole]
