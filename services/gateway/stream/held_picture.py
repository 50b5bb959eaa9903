"""A held picture: the same frame repeatedly, encoded here without any model.

The picture is the last frame shown of the newest chunk. It is decoded once, when the hold begins,
and cached for the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np

from flashtalk.arrays import FloatArray, Rgb
from flashtalk.media.h264 import ChunkEncoder
from flashtalk.v1 import media_pb2
from flashtalk.v1 import vae_decoder_service_pb2 as vae_pb2
from services.gateway.chunk_times import ChunkTimes
from services.gateway.store.records import ChunkRecord, SessionSetting
from services.gateway.workers.making import ChunkMaker


class HeldPicture:
    """The held picture of one stream.

    Args:
        setting: of the session.
        maker: decodes the picture.
        fps: frames per second.
    """

    def __init__(self, setting: SessionSetting, maker: ChunkMaker, fps: int) -> None:
        self._setting, self._maker, self._fps = setting, maker, fps
        self._kept: tuple[FloatArray, int, bytes] | None = None

    async def frames(
        self, record: ChunkRecord, request: vae_pb2.DecodeRequest, times: ChunkTimes
    ) -> AsyncGenerator[tuple[int, bytes, bool]]:
        """Returns the index in the chunk, the picture in the session's codec, and whether it is a
        keyframe.

        Args:
            record: a chunk that holds a picture.
            request: for the frames of its latents up to that picture.
            times: collects the times.
        """
        picture = await self._picture(record, request, times)
        setting, frames = self._setting, record.plan.frames
        if setting.video_codec == media_pb2.VIDEO_CODEC_RAW_RGB24:
            for index in range(frames):
                yield index, picture, True
            return
        shape = (setting.height_px, setting.width_px, 3)
        rgb_HWC = np.frombuffer(picture, np.uint8).reshape(shape)
        units = await asyncio.to_thread(_units, rgb_HWC, self._fps, frames)
        for index, unit in enumerate(units):
            yield index, unit, index == 0

    async def _picture(
        self, record: ChunkRecord, request: vae_pb2.DecodeRequest, times: ChunkTimes
    ) -> bytes:
        plan = record.plan
        if self._kept is not None:
            latents, frame, picture = self._kept
            if frame == plan.held_frame and np.array_equal(latents, record.latents):
                return picture
        request.video_codec = media_pb2.VIDEO_CODEC_RAW_RGB24
        picture, skip = b"", plan.held_frame - 1
        async with aclosing(self._maker.frames(request, record.latents, times, skip)) as parts:
            async for part in parts:
                if part.frames:
                    picture = part.frames[-1].video
        self._kept = (record.latents, plan.held_frame, picture)
        return picture


def _units(rgb_HWC: Rgb, fps: int, frames: int) -> list[bytes]:
    encoder = ChunkEncoder(size_hw=(rgb_HWC.shape[0], rgb_HWC.shape[1]), fps=fps)
    return [encoder.encode(rgb_HWC) for _ in range(frames)]
