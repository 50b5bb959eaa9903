"""Validates a client's messages on an open stream and passes them on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc

from flashtalk.errors import InputError
from flashtalk.serving.interceptor import Malformed
from flashtalk.v1 import stream_pb2
from flashtalk.wire import pcm_from_bytes
from services.gateway.store.records import InterruptRequest
from services.gateway.stream.open_stream import OpenStream
from services.gateway.stream.signals import Asked

_MAX_INTERRUPT_ID = 64
_MAX_UPDATE_ID = 64

Read = Callable[[], Awaitable[object]]


async def read_requests(stream: OpenStream, read: Read, max_packet_bytes: int) -> None:
    """Reads requests until the client closes its side; waits while the intake is full.

    Args:
        stream: the open stream.
        read: returns the next request, or ``grpc.aio.EOF``.
        max_packet_bytes: limit of an audio packet.

    Raises:
        InputError: an invalid message; names the field.
    """
    while True:
        request = await read()
        if not isinstance(request, stream_pb2.StreamRequest):
            if isinstance(request, Malformed):
                raise request.refuse()
            assert request is grpc.aio.EOF
            break
        await _take(stream, request, max_packet_bytes)
    if not stream.intake.finished:
        stream.signals.half_close()


async def _take(
    stream: OpenStream, request: stream_pb2.StreamRequest, max_packet_bytes: int
) -> None:
    kind = request.WhichOneof("message")
    if kind == "audio":
        size = len(request.audio.pcm)
        if not 0 < size <= max_packet_bytes:
            raise InputError("audio.pcm", f"{size} bytes", f"1 to {max_packet_bytes} bytes")
        pcm_S = pcm_from_bytes(request.audio.pcm, stream.audio_encoding, "audio.pcm")
        await stream.intake.put(pcm_S, request.audio.first_sample)
    elif kind == "end_of_audio":
        await stream.intake.end()
    elif kind == "interrupt":
        await ask_interrupt(stream, checked_interrupt(request.interrupt))
    elif kind == "prompt_update":
        update = request.prompt_update
        await stream.prompts.ask(checked_update_id(update.update_id), update.prompt)
    elif kind == "finish":
        await stream.intake.finish()
    elif kind == "open":
        raise InputError("open", "sent again", "must be the first message only")
    else:
        known = "one of open, audio, end_of_audio, interrupt, prompt_update, finish"
        raise InputError("message", "none", known)


def checked_interrupt(message: stream_pb2.Interrupt) -> InterruptRequest:
    """Returns a client's interruption. Raises InputError for a name that is too long."""
    if len(message.interrupt_id) > _MAX_INTERRUPT_ID:
        length = f"{len(message.interrupt_id)} characters"
        raise InputError("interrupt_id", length, f"at most {_MAX_INTERRUPT_ID} characters")
    played = message.played_frames if message.HasField("played_frames") else None
    return InterruptRequest(message.interrupt_id, played)


def checked_update_id(update_id: str) -> str:
    """Returns the id of a prompt update. Raises InputError for an empty or long one: without an id
    there is no way to answer it."""
    if not 0 < len(update_id) <= _MAX_UPDATE_ID:
        limit = f"1 to {_MAX_UPDATE_ID}"
        raise InputError("prompt_update.update_id", f"{len(update_id)} characters", limit)
    return update_id


async def ask_interrupt(stream: OpenStream, request: InterruptRequest) -> None:
    """Queues an interruption for the conductor, which stops its current work.

    Waits while the queue is full: backpressure for a client that sends too many.
    """
    await stream.signals.interrupt(Asked(request, stream.intake.mark(), elsewhere=False))


def pass_interrupt(stream: OpenStream, request: InterruptRequest) -> bool:
    """Queues an interruption that came through the store; returns False if the queue is full."""
    asked = Asked(request, stream.intake.mark(), elsewhere=True)
    return stream.signals.interrupt_at_once(asked)
