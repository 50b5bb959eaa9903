"""Frames on their way to a client: values until they leave, then messages, made once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flashtalk.v1 import stream_pb2

_HEAD_BYTES = 64
"""More than numbers, tags and lengths of a frame take on the wire."""


class OutgoingFrame(NamedTuple):
    """The fields of ``flashtalk.v1.Frame``, as bytes that nobody has copied yet."""

    frame_index: int
    first_sample: int = 0
    pcm: bytes = b""
    video: bytes = b""
    key_frame: bool = False
    chunk_index: int = 0
    epoch: int = 0

    @property
    def size_bytes(self) -> int:
        """Of its message, at most."""
        return _HEAD_BYTES + len(self.pcm) + len(self.video)


def as_response(frames: Sequence[OutgoingFrame]) -> stream_pb2.StreamResponse:
    """One frame, or several in a group.

    Fields are given where the message stands: one that is put together elsewhere is serialised
    and parsed to get there, which took ten times as long.
    """
    if len(frames) == 1:
        return stream_pb2.StreamResponse(frame=frames[0]._asdict())
    response = stream_pb2.StreamResponse()
    group = response.frames.frames
    for index, first_sample, pcm, video, key_frame, chunk_index, epoch in frames:
        group.add(
            frame_index=index,
            first_sample=first_sample,
            pcm=pcm,
            video=video,
            key_frame=key_frame,
            chunk_index=chunk_index,
            epoch=epoch,
        )
    return response
