"""Outgoing frames: values until they are sent, then messages that are built once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flashtalk.v1 import stream_pb2

_HEAD_BYTES = 64
"""Upper bound of the bytes of a frame's numbers, tags and lengths in a message."""


class OutgoingFrame(NamedTuple):
    """The fields of ``flashtalk.v1.Frame``, as bytes that are not copied."""

    frame_index: int
    first_sample: int = 0
    pcm: bytes = b""
    video: bytes = b""
    key_frame: bool = False
    chunk_index: int = 0
    epoch: int = 0

    @property
    def size_bytes(self) -> int:
        """Returns an upper bound of the message's size."""
        return _HEAD_BYTES + len(self.pcm) + len(self.video)


def as_response(frames: Sequence[OutgoingFrame]) -> stream_pb2.StreamResponse:
    """Returns a message of one frame or a group.

    Fields are passed to the constructor of the outer message: assigning a separate message would
    serialise and parse it, which took ten times as long.
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
