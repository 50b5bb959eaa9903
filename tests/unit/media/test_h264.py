"""H.264 of a chunk: one unit per frame, decodable from its first, equal bytes for equal frames."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from flashtalk.arrays import Frames
from flashtalk.client.video import FrameDecoder
from flashtalk.errors import InputError
from flashtalk.media import Mp4Writer
from flashtalk.media.h264 import ChunkEncoder
from flashtalk.v1 import media_pb2, stream_pb2


def moving(count: int, size_hw: tuple[int, int] = (64, 96), start: int = 0) -> Frames:
    """A bright disc that wanders over a soft background."""
    height, width = size_hw
    y, x = np.mgrid[:height, :width]
    frames = []
    for index in range(start, start + count):
        disc = (x - (20 + 2 * index) % width) ** 2 + (y - height / 2) ** 2 < 150
        red = np.where(disc, 230, 60 + x % 64)
        frames.append(np.stack([red, 90 + y % 64, np.full_like(x, 120)], -1))
    return np.stack(frames).astype(np.uint8)


def encoded(frames: Frames) -> list[bytes]:
    encoder = ChunkEncoder(size_hw=(frames.shape[1], frames.shape[2]), fps=25)
    return [encoder.encode(frame) for frame in frames]


def test_every_frame_gives_one_unit_that_decodes_to_it() -> None:
    chunks = [moving(28, start=28 * index) for index in range(3)]
    decoder = FrameDecoder(media_pb2.VIDEO_CODEC_H264, (64, 96))
    for number, frames in enumerate(chunks):
        for index, unit in enumerate(encoded(frames)):
            message = stream_pb2.Frame(
                frame_index=28 * number + index, video=unit, key_frame=index == 0
            )
            error = np.abs(decoder.decode(message).astype(int) - frames[index])
            assert error.mean() < 6, (number, index)
            assert unit.startswith(b"\x00\x00\x00\x01")


def test_a_decoder_may_start_at_any_chunk_and_a_chunk_may_be_cut() -> None:
    units = encoded(moving(28))[:9] + encoded(moving(28, start=9))
    container: Any = av.open(io.BytesIO(b"".join(units)), format="h264")
    with container:
        assert len(list(container.decode(video=0))) == 9 + 28


def test_equal_frames_give_equal_bytes_and_little_of_them() -> None:
    frames = moving(28)
    assert encoded(frames) == encoded(frames)
    assert sum(map(len, encoded(frames))) < frames.nbytes / 20


def test_raw_frames_are_pictures_already() -> None:
    frame = moving(1)[0]
    decoder = FrameDecoder(media_pb2.VIDEO_CODEC_RAW_RGB24, (64, 96))
    np.testing.assert_array_equal(decoder.decode(stream_pb2.Frame(video=frame.tobytes())), frame)


def test_what_is_no_picture_is_refused_by_frame() -> None:
    decoder = FrameDecoder(media_pb2.VIDEO_CODEC_H264, (64, 96))
    for video in (b"\x00\x00\x00\x01rubbish", b"nothing of the kind"):
        with pytest.raises(InputError, match="frame 7"):
            decoder.decode(stream_pb2.Frame(frame_index=7, video=video, key_frame=True))


@pytest.mark.parametrize("size_hw", [(63, 64), (64, 0), (-2, 64)])
def test_sizes_that_cannot_be_stored_are_refused(size_hw: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="even"):
        ChunkEncoder(size_hw=size_hw, fps=25)


def test_other_pictures_are_refused() -> None:
    encoder = ChunkEncoder(size_hw=(64, 96), fps=25)
    wrong: list[Any] = [np.zeros((64, 64, 3), np.uint8), np.zeros((64, 96, 3), np.float32)]
    for picture in wrong:
        with pytest.raises(InputError, match="frame"):
            encoder.encode(picture)


def test_units_go_into_a_file_as_they_are(tmp_path: Path) -> None:
    """The pictures of the file are those of the units, and its sound is as long as they are."""
    path, frames = tmp_path / "a.mp4", np.concatenate([moving(28), moving(11, start=28)])
    units = encoded(frames[:28]) + encoded(frames[28:])
    with Mp4Writer(path, fps=25, size_hw=(64, 96), pcm_hz=16_000, encoded=True) as writer:
        for index, unit in enumerate(units):
            sound = np.full(640, 0.1, np.float32)
            writer.write_encoded(unit, sound, key_frame=index in (0, 28))
        with pytest.raises(InputError, match="640 samples"):
            writer.write_encoded(units[0], np.zeros(639, np.float32), key_frame=True)
    decoder = FrameDecoder(media_pb2.VIDEO_CODEC_H264, (64, 96))
    container: Any = av.open(str(path))
    with container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.frames == 39
        assert (
            video.duration * video.time_base == audio.duration * audio.time_base == Fraction(39, 25)
        )
        stored = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    container = av.open(str(path))
    with container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert [index for index, key in enumerate(keys) if key] == [0, 28]
    for index, unit in enumerate(units):
        decoder.decode(stream_pb2.Frame(video=unit, key_frame=index in (0, 28)))
    raw: Any = av.open(io.BytesIO(b"".join(units)), format="h264")
    with raw:
        direct = [frame.to_ndarray(format="gray") for frame in raw.decode(video=0)]
    np.testing.assert_array_equal(np.stack(stored), np.stack(direct))
