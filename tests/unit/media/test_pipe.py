"""A transport stream into a pipe: quiet, whole, and an error of its reader is told once."""

from __future__ import annotations

import io
import os
import threading
from typing import Any

import av
import numpy as np
import pytest

from flashtalk.errors import InputError, ReaderGoneError
from flashtalk.media.h264 import ChunkEncoder
from flashtalk.media.pipe import PipeWriter

FPS, PCM_HZ, SIZE_HW = 25, 16_000, (64, 64)


def push(writer: PipeWriter, frames: int) -> None:
    encoder, noise = ChunkEncoder(size_hw=SIZE_HW, fps=FPS), np.random.default_rng(0)
    for index in range(frames):
        picture = noise.integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
        writer.write_encoded(
            encoder.encode(picture), np.zeros(640, np.float32), key_frame=index == 0
        )


def opened(sink: Any) -> PipeWriter:
    return PipeWriter(sink, fps=FPS, size_hw=SIZE_HW, pcm_hz=PCM_HZ)


def test_a_stream_is_written_without_a_word(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    sink = io.BytesIO()
    writer = opened(sink)
    push(writer, 30)
    writer.close()
    writer.close()
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    container: Any = av.open(io.BytesIO(sink.getvalue()))
    with container:
        assert sum(1 for _ in container.decode(video=0)) == 30


class Broken(io.RawIOBase):
    """Takes so many bytes, then fails."""

    def __init__(self, takes: int, error: OSError) -> None:
        self.left, self.error = takes, error

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.left -= len(data)
        if self.left < 0:
            raise self.error
        return len(data)


@pytest.mark.parametrize("takes", [0, 5_000, 50_000])
@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (BrokenPipeError(32, "Broken pipe"), ReaderGoneError, "reader has closed"),
        (ConnectionResetError(104, "Connection reset"), ReaderGoneError, "reader has closed"),
        (OSError(28, "No space left on device"), InputError, r"not writable \(No space left"),
    ],
)
def test_an_error_of_the_sink_is_told_once_and_by_us(
    takes: int,
    error: OSError,
    kind: type[InputError],
    says: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    writer = opened(Broken(takes, error))
    with pytest.raises(kind, match=says):
        push(writer, 60)
    writer.close()
    assert capfd.readouterr() == ("", "")


def test_an_error_at_the_very_end_is_told_by_close() -> None:
    sink = Broken(10**9, OSError(28, "No space left on device"))
    writer = opened(sink)
    push(writer, 3)
    sink.left = 0
    with pytest.raises(InputError, match="No space left"):
        writer.close()


def test_a_pipe_that_does_not_wait_gets_every_byte() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    received: list[bytes] = []

    def read() -> None:
        while data := os.read(reading, 1_000):
            received.append(data)

    thread = threading.Thread(target=read)
    thread.start()
    with os.fdopen(writing, "wb") as sink:
        writer = opened(sink)
        push(writer, 60)
        writer.close()
    thread.join()
    os.close(reading)
    whole = io.BytesIO()
    writer = opened(whole)
    push(writer, 60)
    writer.close()
    assert b"".join(received) == whole.getvalue()
