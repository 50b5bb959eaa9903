"""The stream of one session, with automatic reconnects.

A lost connection is opened again, at another gateway if necessary. Frames continue where they
ended, and speech that the server has not committed is resent: nothing is lost or repeated.

Legend: S samples.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc

from flashtalk.client.answers import Answers
from flashtalk.client.arguments import Sound, samples
from flashtalk.client.errors import ClientError, passes, raise_status
from flashtalk.client.outgoing import Outgoing, as_request
from flashtalk.errors import InputError
from flashtalk.pauses import Pauses
from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.wire.status import Reason, reason_of

if TYPE_CHECKING:
    from flashtalk.client.gateways import FlashTalkClient

Event = (
    stream_pb2.Frame
    | stream_pb2.ChunkReport
    | stream_pb2.Activity
    | stream_pb2.Underrun
    | stream_pb2.Interrupted
    | stream_pb2.PromptUpdated
    | stream_pb2.StreamClosed
)
"""The items of ``async for``; the messages of the protocol."""

_ENCODING = media_pb2.AUDIO_ENCODING_PCM_F32LE
_PACKET_S = 0.5
_EVENTS = 256
_FRAMES_PER_MESSAGE = 7
"""A quarter of a chunk: most of what fewer messages save, and a quarter of a second ahead."""
_SILENCE_S = 15.0
"""The server says something every 5 s; after so long without a word the connection is dead."""

_NOT_UPDATED: dict[int, grpc.StatusCode] = {
    stream_pb2.PromptUpdated.OUTCOME_REFUSED: grpc.StatusCode.INVALID_ARGUMENT,
    stream_pb2.PromptUpdated.OUTCOME_FAILED: grpc.StatusCode.UNAVAILABLE,
}
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 1.0
_LAST = (stream_pb2.StreamClosed.REASON_FINISHED, stream_pb2.StreamClosed.REASON_DELETED)


class SessionStream:
    """Created by ``FlashTalkClient.stream``; use it with ``async with`` and ``async for``.

    One task may push while another reads. Without a reader the server stops sending after a few
    seconds (backpressure). After the client's ``patience_s`` without progress every call raises
    ClientError (DEADLINE_EXCEEDED).

    Args:
        client: the connections.
        session: the session to stream.
        resume: takes over a stream that is open elsewhere, from its next frame on; without it such
            a session is refused (SESSION_BUSY).
    """

    def __init__(self, client: FlashTalkClient, session: pb.Session, resume: bool = False) -> None:
        self._client, self.session, self._resume = client, session, resume
        spec, limits = session.spec, session.limits
        largest = limits.max_packet_bytes // 4
        packet = max(1, min(int(_PACKET_S * spec.sample_rate_hz), largest))
        self._out = Outgoing(packet)
        # The server reads an interruption at once only while its buffer is not full.
        self._ahead = max(packet, limits.max_buffered_samples - 2 * packet)
        self._changed = asyncio.Condition()
        self._events: asyncio.Queue[Event | None] = asyncio.Queue(_EVENTS)
        self._failure: ClientError | None = None
        self._moved_s = 0.0
        self._answers = Answers()
        self._task: asyncio.Task[None] | None = None
        self._over = False
        self._opened = self._once_opened = self._once_lost = False
        self.next_frame = 0
        self.epoch = 0
        self.reconnects = 0

    async def __aenter__(self) -> SessionStream:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the stream; the session remains until it expires, unless it was finished."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def push_audio(self, sound: Sound) -> None:
        """Appends speech of any length; waits while the server's buffer is full.

        Args:
            sound: one channel at the session's rate: floats in [-1, 1] or 16-bit integers, as an
                array or a list, or bytes of 16-bit little-endian samples (s16le).

        Raises:
            TypeError: another type.
            InputError: another shape, half a sample, NaN, or after the end.
            ClientError: the stream has failed.
        """
        pcm_S = samples(sound)
        for begin in range(0, len(pcm_S), self.session.spec.sample_rate_hz):
            part_S = pcm_S[begin : begin + self.session.spec.sample_rate_hz]
            async with self._changed:
                await self._room()
                self._check_open("audio")
                self._out.push(part_S)
                self._changed.notify_all()

    async def end_audio(self) -> None:
        """Ends the utterance. Errors as ``push_audio``."""
        async with self._changed:
            self._check_open("end_audio")
            self._out.end()
            self._changed.notify_all()

    async def finish(self) -> None:
        """Ends the input; the stream ends after its last frame. Errors as ``push_audio``."""
        async with self._changed:
            self._check_open("finish")
            self._out.finish()
            self._changed.notify_all()

    async def interrupt(self, played_frames: int | None = None) -> stream_pb2.Interrupted:
        """Interrupts the current speech; returns the acknowledgement.

        Events continue meanwhile, so another task must read them.

        Args:
            played_frames: number of frames that were really shown, if known.

        Raises:
            ClientError: the stream has failed, or no acknowledgement came within ``patience_s``.
        """
        interrupted: stream_pb2.Interrupted = await self._answered(
            "interrupt",
            lambda name: self._out.cut(name, played_frames),
            self._out.withdraw,
            "no acknowledgement of the interruption",
        )
        return interrupted

    async def update_prompt(self, prompt: str) -> stream_pb2.PromptUpdated:
        """Changes the prompt from the next chunk on; returns the answer: applied, with its first
        frame, or superseded by a later update.

        Events continue meanwhile, so another task must read them.

        Args:
            prompt: description of the scene; empty for the model's default.

        Raises:
            ClientError: the update was refused (INVALID_ARGUMENT) or failed (UNAVAILABLE), the
                stream has failed, or no answer came within ``patience_s``.
        """
        updated: stream_pb2.PromptUpdated = await self._answered(
            "update_prompt",
            lambda name: self._out.prompt(name, prompt),
            self._out.prompted,
            "no result of the prompt update",
        )
        if updated.outcome in _NOT_UPDATED:
            raise ClientError(
                _NOT_UPDATED[updated.outcome],
                updated.message,
                reason=Reason.__members__.get(updated.reason),
            )
        return updated

    async def _answered(
        self,
        field: str,
        send: Callable[[str], None],
        withdraw: Callable[[str], None],
        late: str,
    ) -> Any:
        """Sends a request with a new name; returns its answer."""
        name = uuid.uuid4().hex
        async with self._changed:
            self._check_open(field)
            answer = self._answers.expect(name)
            send(name)
            self._changed.notify_all()
        try:
            async with asyncio.timeout(self._client.patience_s):
                return await answer
        except TimeoutError:
            withdraw(name)
            raise self._late(late) from None
        finally:
            self._answers.forget(name)

    def __aiter__(self) -> SessionStream:
        return self

    async def __anext__(self) -> Event:
        """Returns the next event. Raises ClientError if the stream has failed."""
        ended = self._over and self._events.empty()
        event = None if ended else await self._events.get()
        if event is not None:
            return event
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration

    async def _room(self) -> None:
        """Waits, with the lock held, until there is room for speech or the stream has ended."""
        loop, patience_s = asyncio.get_running_loop(), self._client.patience_s
        begun_s = loop.time()
        while not (self._over or self._out.waiting_samples < self._ahead):
            try:
                async with asyncio.timeout_at(max(begun_s, self._moved_s) + patience_s):
                    await self._changed.wait()
            except TimeoutError:
                if loop.time() >= max(begun_s, self._moved_s) + patience_s:
                    raise self._late("no speech was accepted") from None

    def _late(self, what: str) -> ClientError:
        limit = f"within {self._client.patience_s:g} s; another task must read the events"
        return ClientError(grpc.StatusCode.DEADLINE_EXCEEDED, f"{what} {limit}")

    def _check_open(self, field: str) -> None:
        if self._out.finished:
            raise InputError(field, "called after finish", "finish must be the last call")
        if self._over:
            raise ClientError(grpc.StatusCode.CANCELLED, "the stream has ended")

    async def _run(self) -> None:
        """Runs the stream from its first connection to its end, and then wakes every waiter."""
        try:
            await self._connections()
        except ClientError as failed:
            self._failure = failed
        except Exception as error:
            # An unexpected error must not leave readers of events waiting.
            self._failure = ClientError(
                grpc.StatusCode.INTERNAL, f"internal error of the client: {error!r}"
            )
            raise
        finally:
            self._over = True
            gone = ClientError(grpc.StatusCode.CANCELLED, "the stream has ended")
            self._answers.fail(self._failure or gone)
            if not self._events.full():  # with a full queue the reader finds the end itself
                self._events.put_nowait(None)
            async with self._changed:
                self._changed.notify_all()

    async def _connections(self) -> None:
        """Runs connections until the stream ends; raises ClientError after ``patience_s``."""
        lost_s, pauses = time.monotonic(), Pauses(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        if self._resume:
            self.next_frame = (await self._client.get_session(self.session.session_id)).next_frame
        while True:
            self._opened = False
            error: grpc.aio.AioRpcError | None = None
            try:
                if await self._connection():
                    return
            except grpc.aio.AioRpcError as lost:
                error = lost
            if self._opened:
                lost_s = time.monotonic()
                pauses.restart()
            if error is not None and not await self._passes(error):
                raise self._client.failed(error)
            if time.monotonic() - lost_s > self._client.patience_s:
                raise self._client.failed(error) if error is not None else _lost()
            self._once_lost = True
            self.reconnects += 1
            self._client.turn()
            await asyncio.sleep(pauses.next_s())

    async def _passes(self, error: grpc.aio.AioRpcError) -> bool:
        """Whether another connection may succeed."""
        if reason_of(error) is Reason.REPLAY_GONE and self._out.cuts:
            # The acknowledgement of an interruption was lost: continue after it.
            session = await self._client.get_session(self.session.session_id)
            if session.epoch > self.epoch:
                self.next_frame = min(self.next_frame, session.next_frame)
                return True
        if reason_of(error) is Reason.SESSION_BUSY:
            # After an earlier connection the open stream may be this client's own.
            return self._resume or self._once_opened or self._once_lost
        return passes(error)

    async def _connection(self) -> bool:
        """Runs one connection; returns True if the stream has ended."""
        call = self._client.stub().Stream()
        sending: asyncio.Task[None] | None = None
        try:
            opening = stream_pb2.StreamOpen(
                session_id=self.session.session_id,
                sample_rate_hz=self.session.spec.sample_rate_hz,
                channels=1,
                audio_encoding=_ENCODING,
                resume_frame=self.next_frame if self._once_opened or self._resume else None,
                frames_per_message=_FRAMES_PER_MESSAGE,
            )
            await call.write(stream_pb2.StreamRequest(open=opening))
            while True:
                async with asyncio.timeout(_SILENCE_S):
                    response = await call.read()
                if response is grpc.aio.EOF:
                    await raise_status(call)
                    return False
                if response.HasField("opened"):
                    opened = response.opened
                    self.epoch, self._opened, self._once_opened = opened.epoch, True, True
                    self.next_frame = opened.next_frame
                    self._moved_s = asyncio.get_running_loop().time()
                    self._out.again(opened.input_samples, opened.utterances)
                    sending = asyncio.create_task(self._send(call))
                elif await self._take(response):
                    return bool(response.closed.reason in _LAST)
        except TimeoutError:
            return False
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.wait({sending})
            call.cancel()

    async def _send(self, call: Any) -> None:
        while True:
            async with self._changed:
                item = self._out.next()
                while item is None:
                    await self._changed.wait()
                    item = self._out.next()
            try:
                await call.write(as_request(item, _ENCODING))
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                return  # the reader raises the error

    async def _take(self, response: stream_pb2.StreamResponse) -> bool:
        """Queues an event; returns True for the last one of a connection."""
        kind = response.WhichOneof("message")
        if kind in (None, "heartbeat", "go_away", "opened"):
            return False
        self._moved_s = asyncio.get_running_loop().time()
        if kind in ("frame", "frames"):
            for frame in [response.frame] if kind == "frame" else response.frames.frames:
                self.next_frame = frame.frame_index + 1
                await self._events.put(frame)
            return False
        event: Event = getattr(response, str(kind))
        if isinstance(event, stream_pb2.ChunkReport):
            async with self._changed:
                self._out.used(event.input_samples, event.utterances)
                self._changed.notify_all()
        elif isinstance(event, stream_pb2.Interrupted):
            await self._interrupted(event)
        elif isinstance(event, stream_pb2.PromptUpdated):
            self._out.prompted(event.update_id)
            self._answers.settle(event.update_id, event)
        elif isinstance(event, stream_pb2.StreamClosed):
            if event.reason in _LAST:
                self._over = True
                await self._events.put(event)
            return True
        await self._events.put(event)
        return False

    async def _interrupted(self, event: stream_pb2.Interrupted) -> None:
        self.next_frame, self.epoch = event.played_frames, event.epoch
        async with self._changed:
            answered = self._out.interrupted(
                event.interrupt_id, event.input_samples, event.utterances
            )
            self._changed.notify_all()
        for name in answered:
            self._answers.settle(name, event)


def _lost() -> ClientError:
    return ClientError(grpc.StatusCode.UNAVAILABLE, "no gateway accepts the stream")
