"""As much of HTTP/2 as a caller of the benchmark needs: long streams on one connection, no secrets.

A client of gRPC costs more than a millisecond of processor time per chunk, which the gateway under
load then lacks on a small machine. This one writes frames from where they lie and looks at a few
bytes of what comes. Section numbers are those of RFC 9113; header fields are literals (RFC 7541).
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Sequence

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 4, 5
_HEAD = struct.Struct(">IBI")  # length and type in one number: 24 and 8 bits (section 4.1)
_PREFIX = struct.Struct(">BI")  # of a gRPC message: compressed or not, length
_SETTING = struct.Struct(">HI")
_HEAD_BYTES, _PREFIX_BYTES = _HEAD.size, _PREFIX.size
_DEFAULT_WINDOW, _LARGEST_WINDOW = 65_535, 2**31 - 1
_LARGEST_FRAME = 2**24 - 1


class Stream:
    """One call, open both ways.

    Args:
        take: called with each message that comes.
    """

    def __init__(
        self, connection: Connection, number: int, window: int, take: Callable[[memoryview], None]
    ) -> None:
        self._connection, self._number, self._take = connection, number, take
        self.window = window
        self._waiting: deque[bytes] = deque()
        self._received = bytearray()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def send(self, message: bytes) -> None:
        """Sends a message as soon as the other side has room for it."""
        self._waiting.append(_PREFIX.pack(0, len(message)) + message)
        self.pump()

    def pump(self) -> None:
        """Sends what there is room for; messages are small, so each goes in one frame."""
        while self._waiting and len(self._waiting[0]) <= min(self.window, self._connection.window):
            data = self._waiting.popleft()
            self.window -= len(data)
            self._connection.window -= len(data)
            self._connection.write_frame(_DATA, 0, self._number, data)

    def receive(self, data: memoryview) -> None:
        """Takes bytes of messages, in any pieces."""
        if not self._received:
            data = self._messages(data)
            if data:
                self._received += data
            return
        self._received += data
        whole = bytes(self._received)
        rest = self._messages(memoryview(whole))
        self._received = bytearray(rest)

    def _messages(self, data: memoryview) -> memoryview:
        """Hands on the whole messages at the front; gives the rest."""
        while len(data) >= _PREFIX_BYTES:
            end = _PREFIX_BYTES + _PREFIX.unpack_from(data)[1]
            if len(data) < end:
                break
            self._take(data[_PREFIX_BYTES:end])
            data = data[end:]
        return data

    def end(self, error: Exception | None = None) -> None:
        """The other side has said its last."""
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)


class Connection(asyncio.Protocol):
    """One connection in the clear."""

    def __init__(self) -> None:
        self.window = _DEFAULT_WINDOW
        self._stream_window = _DEFAULT_WINDOW
        self._streams: dict[int, Stream] = {}
        self._next_number = 1
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Says what may come: as much as it likes, in frames of any size."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        settings = ((_INITIAL_WINDOW_SIZE, _LARGEST_WINDOW), (_MAX_FRAME_SIZE, _LARGEST_FRAME))
        self.write_frame(_SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in settings))
        more = _LARGEST_WINDOW - _DEFAULT_WINDOW
        self.write_frame(_WINDOW_UPDATE, 0, 0, more.to_bytes(4, "big"))

    def open(self, path: str, take: Callable[[memoryview], None]) -> Stream:
        """Begins a call of gRPC."""
        number, self._next_number = self._next_number, self._next_number + 2
        stream = self._streams[number] = Stream(self, number, self._stream_window, take)
        fields = (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "gateway"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        )
        self.write_frame(_HEADERS, _END_HEADERS, number, _literals(fields))
        return stream

    def close(self) -> None:
        """Ends it."""
        self._transport.close()

    def write_frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """Sends one frame."""
        head = _HEAD.pack(len(payload) << 8 | kind, flags, number)
        self._transport.write(head + payload)

    def connection_lost(self, error: Exception | None) -> None:
        """Ends every stream."""
        for stream in self._streams.values():
            stream.end(error or ConnectionError("the gateway has closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Takes bytes of frames, in any pieces."""
        if self._rest:
            data = self._rest + data
        view, at, size = memoryview(data), 0, len(data)
        while size - at >= _HEAD_BYTES:
            head, flags, number = _HEAD.unpack_from(data, at)
            end = at + _HEAD_BYTES + (head >> 8)
            if end > size:
                break
            self._frame(head & 0xFF, flags, number, view[at + _HEAD_BYTES : end])
            at = end
        self._rest = data[at:]

    def _frame(self, kind: int, flags: int, number: int, payload: memoryview) -> None:
        stream = self._streams.get(number)
        if kind == _DATA and stream is not None:
            stream.receive(payload)
        elif kind == _SETTINGS and not flags & _ACK:
            self._settings(payload)
        elif kind == _PING and not flags & _ACK:
            self.write_frame(_PING, _ACK, 0, bytes(payload))
        elif kind == _WINDOW_UPDATE:
            self._more(stream, int.from_bytes(payload, "big"))
        elif kind == _RST_STREAM and stream is not None:
            stream.end(ConnectionError(f"stream reset: {int.from_bytes(payload, 'big')}"))
        elif kind == _GOAWAY:
            self.connection_lost(ConnectionError("the gateway goes away"))
        if kind in (_DATA, _HEADERS) and flags & _END_STREAM and stream is not None:
            stream.end()

    def _settings(self, payload: memoryview) -> None:
        for at in range(0, len(payload), _SETTING.size):
            name, value = _SETTING.unpack_from(payload, at)
            if name == _INITIAL_WINDOW_SIZE:
                for stream in self._streams.values():
                    stream.window += value - self._stream_window
                self._stream_window = value
        self.write_frame(_SETTINGS, _ACK, 0, b"")
        self._more(None, 0)

    def _more(self, stream: Stream | None, room: int) -> None:
        if stream is not None:
            stream.window += room
            stream.pump()
            return
        self.window += room
        for each in self._streams.values():
            each.pump()


def _literals(fields: Sequence[tuple[str, str]]) -> bytes:
    """A header block without tables and without Huffman's code, of short texts."""
    texts = (text.encode() for field in fields for text in field)
    coded = [bytes([len(text)]) + text for text in texts]
    pairs = zip(coded[::2], coded[1::2], strict=True)
    return b"".join(b"\x00" + name + value for name, value in pairs)
