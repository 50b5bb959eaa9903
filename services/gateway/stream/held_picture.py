"""A held picture: the same frame again and again, encoded here, without any model.

The picture is the last frame shown of the newest chunk that was made. It is decoded once, when the
holding begins, and then kept for the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np
import numpy.typing as npt

from flashtalk.media.h264 import ChunkEncoder
from flashtalk.v1 import media_pb2
from services.gateway.chunk_times import ChunkTimes
from services.gateway.store.records import ChunkRecord
from services.gateway.stream.open_stream import OpenStream


async def held_frames(
    stream: OpenStream, record: ChunkRecord, times: ChunkTimes
) -> AsyncGenerator[tuple[int, bytes, bool]]:
    """Place in the chunk, picture in the session's codec, and whether a decoder may start there."""
    picture = await _picture(stream, record, times)
    setting, frames = stream.setting, record.plan.frames
    if setting.video_codec == media_pb2.VIDEO_CODEC_RAW_RGB24:
        for index in range(frames):
            yield index, picture, True
        return
    shape = (setting.height_px, setting.width_px, 3)
    rgb_HWC = np.frombuffer(picture, np.uint8).reshape(shape)
    units = await asyncio.to_thread(_units, rgb_HWC, stream.spec.fps, frames)
    for index, unit in enumerate(units):
        yield index, unit, index == 0


def _units(rgb_HWC: npt.NDArray[np.uint8], fps: int, frames: int) -> list[bytes]:
    encoder = ChunkEncoder(size_hw=(rgb_HWC.shape[0], rgb_HWC.shape[1]), fps=fps)
    return [encoder.encode(rgb_HWC) for _ in range(frames)]


async def _picture(stream: OpenStream, record: ChunkRecord, times: ChunkTimes) -> bytes:
    plan = record.plan
    if kept := stream.held_picture:
        latents, frame, picture = kept
        if frame == plan.held_frame and np.array_equal(latents, record.latents):
            return picture
    request = stream.decode_request(record, plan.held_frame)
    request.video_codec = media_pb2.VIDEO_CODEC_RAW_RGB24
    picture, skip = b"", plan.held_frame - 1
    async with aclosing(stream.maker.frames(request, record.latents, times, skip)) as results:
        async for result in results:
            if not isinstance(result, np.ndarray):
                picture = result[-1].video
    stream.held_picture = (record.latents, plan.held_frame, picture)
    return picture
