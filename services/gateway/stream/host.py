"""Serves one stream from its first message to its last; owns every task of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import grpc

from flashtalk.errors import InputError
from flashtalk.serving.errors import Reason, ServiceError
from flashtalk.serving.interceptor import Malformed
from flashtalk.serving.logs import get_logger, log_context
from flashtalk.streaming.spec import PCM_HZ
from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as session_pb2
from services.gateway import metrics
from services.gateway.keys.door import Door, bad_key
from services.gateway.keys.entries import ANYBODY, ApiKey
from services.gateway.limits import GatewayLimits
from services.gateway.loop_clock import loop_time
from services.gateway.sessions.creation import checked_session_id
from services.gateway.sessions.views import stream_spec
from services.gateway.store.records import SessionAsset, SessionRecord, SessionState
from services.gateway.store.session_store import (
    FenceLost,
    SessionGone,
    SessionStore,
    StoreError,
    session_gone,
)
from services.gateway.stream.conductor import Conductor
from services.gateway.stream.held_picture import HeldPicture
from services.gateway.stream.idle_loop import IdleLoop
from services.gateway.stream.intake import SpeechIntake
from services.gateway.stream.open_stream import OpenStream
from services.gateway.stream.pace import Lead
from services.gateway.stream.playout import Outbox, PlayClock
from services.gateway.stream.prompts import PromptUpdates
from services.gateway.stream.reader import Read, pass_interrupt, read_requests
from services.gateway.stream.signals import StreamSignals
from services.gateway.workers.making import ChunkMaker
from services.gateway.workers.pool import WorkerPool

Write = Callable[[stream_pb2.StreamResponse], Awaitable[None]]

_LOG = get_logger(__name__)
_OUTBOX_CHUNKS = 2


class StreamHost:
    """Serves the streams of one gateway.

    Args:
        owner: unique name of this gateway.
        door: validates keys; a stream ends within a heartbeat after its key becomes invalid.
    """

    def __init__(
        self,
        owner: str,
        store: SessionStore,
        pool: WorkerPool,
        maker: ChunkMaker,
        limits: GatewayLimits,
        door: Door,
    ) -> None:
        self._door = door
        self.owner = owner
        self._store = store
        self._pool = pool
        self._maker = maker
        self._limits = limits
        self._open: set[OpenStream] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False

    @property
    def open_streams(self) -> int:
        """Returns the number of open streams."""
        return len(self._open)

    def count_waiting(self) -> None:
        """Updates the metrics of queued frames and speech of all streams."""
        metrics.OUTBOX_FRAMES.set(sum(s.outbox.waiting_frames for s in self._open))
        metrics.INTAKE_SAMPLES.set(sum(s.intake.buffered for s in self._open))

    async def drain(self) -> None:
        """Asks every stream to end at the next chunk border, and waits for all of them."""
        self.draining = True
        for stream in list(self._open):
            away = stream_pb2.GoAway()
            away.grace.FromSeconds(int(self._limits.drain_s))
            await stream.outbox.put(stream_pb2.StreamResponse(go_away=away))
            stream.signals.drain()
        await self._idle.wait()

    async def serve(self, read: Read, write: Write, caller: ApiKey = ANYBODY) -> None:
        """Serves a stream of the caller's session; an error ends the stream, not the session."""
        opening = await self._opening(read)
        if self.draining:
            raise ServiceError(
                grpc.StatusCode.UNAVAILABLE,
                Reason.DRAINING,
                "this gateway is shutting down; use another one",
            )
        with log_context(session_id=opening.session_id):
            # Checked before it is claimed: a session of another key is not disturbed.
            found = await self._store.load(opening.session_id, light=True)
            if found.setting.key_name != caller.name:
                raise session_gone(opening.session_id)
            resumed = opening.HasField("resume_frame")
            record = await self._store.claim(opening.session_id, self.owner, replace=resumed)
            try:
                stream = await self._open_stream(record, opening, caller)
                await self._run(stream, record.state, read, write)
            finally:
                await self._release(record)

    async def _opening(self, read: Read) -> stream_pb2.StreamOpen:
        try:
            async with asyncio.timeout(self._limits.open_timeout_s):
                request = await read()
        except TimeoutError:
            limit = f"must arrive within {self._limits.open_timeout_s:g} s"
            raise InputError("open", "missing", limit) from None
        if isinstance(request, Malformed):
            raise request.refuse()
        if not isinstance(request, stream_pb2.StreamRequest) or not request.HasField("open"):
            raise InputError("open", "missing", "must be the first message of a stream")
        opening = request.open
        checked_session_id("open.session_id", opening.session_id)
        if opening.sample_rate_hz != PCM_HZ:
            raise InputError("open.sample_rate_hz", opening.sample_rate_hz, f"{PCM_HZ}")
        if opening.channels != 1:
            raise InputError("open.channels", opening.channels, "1")
        if opening.audio_encoding not in media_pb2.AudioEncoding.values():
            raise InputError(
                "open.audio_encoding", opening.audio_encoding, "must be an AudioEncoding"
            )
        return opening

    async def _open_stream(
        self, record: SessionRecord, opening: stream_pb2.StreamOpen, caller: ApiKey
    ) -> OpenStream:
        setting, state, spec = record.setting, record.state, record.setting.spec
        first = made = state.position.next_frame
        if opening.HasField("resume_frame"):
            first = opening.resume_frame
            end = made + (state.plan.frames if state.plan else 0)
            oldest = state.history[0].plan.first_frame if state.history else made
            if not oldest <= first <= end:
                raise ServiceError(
                    grpc.StatusCode.OUT_OF_RANGE,
                    Reason.REPLAY_GONE,
                    f"resume_frame: {first}: must be {oldest} .. {end}",
                    field="open.resume_frame",
                )
        # The speech of the plan is already used: the client need not send it again.
        used = state.plan or state
        clock = PlayClock(
            spec.fps,
            self._limits.send_ahead_s,
            paced=setting.pacing == session_pb2.PACING_REAL_TIME,
            now_s=loop_time(),
        )
        outbox = Outbox(
            clock,
            first,
            _OUTBOX_CHUNKS * spec.new_frames,
            together=min(opening.frames_per_message, spec.new_frames),
        )
        asset, signals = await self._store.asset(setting.asset), StreamSignals()
        maker = self._maker.with_weights(asset.weights_digest)
        return OpenStream(
            spec=spec,
            setting=setting,
            asset=asset,
            fence=record.fence,
            caller=caller,
            store=self._store,
            maker=maker,
            audio_encoding=opening.audio_encoding or media_pb2.AUDIO_ENCODING_PCM_S16LE,
            intake=SpeechIntake(
                used.input_samples,
                used.utterances,
                self._limits.max_buffered_samples(spec),
                begun=_in_utterance(state),
            ),
            outbox=outbox,
            lead=Lead(spec.fps, self._pool.chunk_s, loop_time()),
            held=HeldPicture(setting, maker, spec.fps),
            loop=IdleLoop(maker, self._limits.idle_loop_bytes),
            loop_chunks=self._limits.idle_loop_chunks
            if setting.idle_policy == session_pb2.IDLE_POLICY_LOOP
            else 0,
            signals=signals,
            prompts=PromptUpdates(
                setting,
                asset,
                state.prompt_outcomes,
                maker,
                outbox,
                signals,
                self._limits.prompt_timeout_s,
            ),
        )

    async def _run(self, stream: OpenStream, state: SessionState, read: Read, write: Write) -> None:
        scene = await self._store.asset(state.scene) if state.scene else stream.asset
        self._open.add(stream)
        self._idle.clear()
        metrics.STREAMS.set(len(self._open))
        try:
            await write(self._opened(stream, state.epoch))
            async with asyncio.TaskGroup() as group:
                limit = self._limits.max_packet_bytes
                helpers = [
                    group.create_task(read_requests(stream, read, limit)),
                    group.create_task(self._keep(stream)),
                    group.create_task(stream.prompts.run()),
                ]
                conducting = group.create_task(self._conduct(stream, state, scene))
                await self._send(stream, write)
                await conducting
                for task in helpers:
                    task.cancel()
        except BaseExceptionGroup as errors:
            raise _first_cause(errors) from errors
        finally:
            self._open.discard(stream)
            if not self._open:
                self._idle.set()
            metrics.STREAMS.set(len(self._open))

    def _opened(self, stream: OpenStream, epoch: int) -> stream_pb2.StreamResponse:
        opened = stream_pb2.StreamOpened(
            input_samples=stream.intake.used,
            next_frame=stream.outbox.next_frame,
            epoch=epoch,
            spec=stream_spec(stream.setting),
            audio_encoding=stream.audio_encoding,  # type: ignore[arg-type]
            utterances=stream.intake.utterances,
        )
        return stream_pb2.StreamResponse(opened=opened)

    async def _conduct(self, stream: OpenStream, state: SessionState, scene: SessionAsset) -> None:
        try:
            reason = await Conductor(stream, state, scene).run()
        except Exception as error:
            if not isinstance(_first_cause(error), SessionGone):
                raise
            # Deleted by another call: a write may notice before the heartbeat does.
            signals = await self._store.heartbeat(stream.session_id, stream.fence)
            if not signals.deleted:
                raise
            reason = int(stream_pb2.StreamClosed.REASON_DELETED)
        if reason == stream_pb2.StreamClosed.REASON_DELETED:
            stream.outbox.flush()
        if reason == stream_pb2.StreamClosed.REASON_FINISHED:
            await stream.prompts.end()
            await self._store.delete(stream.session_id)
            await self._pool.give_back(stream.session_id)
        next_frame = stream.outbox.next_frame
        closed = stream_pb2.StreamClosed(reason=reason, next_frame=next_frame)  # type: ignore[arg-type]
        await stream.outbox.put(stream_pb2.StreamResponse(closed=closed))

    async def _send(self, stream: OpenStream, write: Write) -> None:
        seen = metrics.FramesSeen(paced=stream.outbox.clock.paced)
        while True:
            response = await stream.outbox.get(self._limits.client_heartbeat_s)
            if response is None:
                beat = stream_pb2.Heartbeat(next_frame=stream.outbox.sent_frames)
                await write(stream_pb2.StreamResponse(heartbeat=beat))
                continue
            chunks, late_s = stream.outbox.left_chunks, stream.outbox.late_s
            await write(response)
            if chunks:
                seen.frames(chunks, late_s)
            elif response.HasField("closed"):
                return

    async def _keep(self, stream: OpenStream) -> None:
        """Renews the ownership of the session in the store, and handles others' requests."""
        while True:
            await asyncio.sleep(self._limits.heartbeat_s)
            if not self._door.admits(stream.caller):
                raise bad_key("this API key is no longer valid")
            try:
                signals = await self._store.heartbeat(stream.session_id, stream.fence)
                await self._pool.renew(stream.session_id, lease_s=stream.setting.ttl_s)
            except StoreError as error:
                # Commits renew it too, and they decide; the next heartbeat may succeed.
                _LOG.warning("heartbeat failed", extra={"error": str(error)})
                continue
            for request in signals.interrupts:
                if not pass_interrupt(stream, request):
                    _LOG.warning("interruption dropped", extra={"reason": "queue is full"})
            if signals.deleted:
                stream.signals.delete()
                return

    async def _release(self, record: SessionRecord) -> None:
        name = record.setting.session_id
        try:
            async with asyncio.timeout(self._limits.release_timeout_s):
                try:
                    await asyncio.shield(self._store.release(name, record.fence))
                except SessionGone:
                    # Deleted while it ran: its last chunk may have taken a slot again.
                    await self._pool.give_back(name)
        except FenceLost:
            pass  # it has another owner, as has the slot
        except (StoreError, TimeoutError) as error:
            # The ownership expires without heartbeats.
            _LOG.warning("release failed", extra={"error": str(error)})


def _in_utterance(state: SessionState) -> bool:
    """Whether the newest chunk ends inside an utterance."""
    newest = state.plan or (state.history[-1].plan if state.history else None)
    return newest is not None and newest.pcm_S.size == newest.speech_begin + newest.speech_samples


def _first_cause(errors: BaseException) -> BaseException:
    """Returns the error for the client; a disconnect of the client is not an error."""
    if not isinstance(errors, BaseExceptionGroup):
        return errors
    causes: Sequence[BaseException] = errors.exceptions
    for error in causes:
        if not isinstance(error, asyncio.CancelledError):
            return _first_cause(error)
    return causes[0]
