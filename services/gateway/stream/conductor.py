"""The loop of one stream: decides what comes next, chunk by chunk.

Legend: S samples.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from flashtalk.serving.logs import log_context
from flashtalk.v1 import stream_pb2
from services.gateway import metrics
from services.gateway.chunk_times import ChunkTimes
from services.gateway.loop_clock import now_s
from services.gateway.store.records import ChunkPlan, SessionAsset, SessionState
from services.gateway.stream.chunk_run import make_chunk, show
from services.gateway.stream.idle_loop import Step, next_step
from services.gateway.stream.interruption import interrupt
from services.gateway.stream.open_stream import OpenStream
from services.gateway.stream.pace import JITTER_FRAMES
from services.gateway.stream.planner import LISTENING, NextChunk, Wait, next_chunk
from services.gateway.stream.progress import Progress
from services.gateway.stream.scene_change import change_scene

FIRST_IDLE_AFTER_S = 0.25
"""Time that a new stream waits for speech before the avatar idles."""

Closed = stream_pb2.StreamClosed


class Conductor:
    """Makes the chunks of one stream until it ends.

    Frames from the outbox's next one on are sent again before a new chunk is made.

    Args:
        stream: the open stream.
        state: state of the session when it was taken.
        scene: the asset of ``state.scene``.
    """

    def __init__(self, stream: OpenStream, state: SessionState, scene: SessionAsset) -> None:
        self._stream = stream
        self._progress = Progress(state, scene)
        self._opened_s = now_s()

    async def run(self) -> int:
        """Runs until the stream ends; returns the ``StreamClosed.Reason``."""
        stream = self._stream
        with log_context(session_id=stream.session_id):
            await self._interruptible(self._replay())
            while True:
                if stream.signals.interrupted:
                    await self._interrupt()
                    continue
                if stream.ending:
                    return self._reason()
                if stream.prompts.ready:
                    self._progress = await change_scene(stream, self._progress)
                    continue
                plan = await self._next_plan()
                if plan is not None:
                    await self._make(plan)
                elif not self._disturbed():
                    await self._interruptible(stream.outbox.empty())
                    if not stream.signals.interrupted:
                        return int(Closed.REASON_FINISHED)

    def _disturbed(self) -> bool:
        stream = self._stream
        return stream.signals.interrupted or stream.ending or stream.prompts.ready

    def _reason(self) -> int:
        if self._stream.signals.deleted:
            return int(Closed.REASON_DELETED)
        if self._stream.signals.draining:
            return int(Closed.REASON_DRAINING)
        return int(Closed.REASON_HALF_CLOSED)

    async def _replay(self) -> None:
        """Sends the frames that the client has missed, then finishes the chunk that was begun."""
        stream, state = self._stream, self._progress.state
        for record in state.history:
            if record.plan.first_frame + record.plan.frames > stream.outbox.next_frame:
                await show(stream, record, state.epoch, ChunkTimes())
        if state.plan is not None:
            await self._chunk(state.plan)

    async def _interrupt(self) -> None:
        stream = self._stream
        asked = stream.signals.next_interrupt()
        outcome, self._progress = await interrupt(stream, self._progress, asked)
        if asked.elsewhere:
            owner = stream.setting.key_name
            await stream.store.answer_interrupt(stream.session_id, outcome, owner)

    async def _make(self, plan: ChunkPlan) -> None:
        with log_context(chunk_index=plan.index, epoch=plan.epoch):
            await self._interruptible(self._chunk(plan))

    async def _chunk(self, plan: ChunkPlan) -> None:
        self._progress = await make_chunk(self._stream, self._progress, plan, self._keep)

    def _keep(self, progress: Progress) -> None:
        self._progress = progress

    async def _interruptible(self, work: Awaitable[None]) -> None:
        """Runs ``work`` until it ends or an interruption is requested."""
        signals = self._stream.signals
        task = asyncio.ensure_future(work)
        try:
            while not task.done() and not signals.interrupted:
                signals.clear()
                waking = asyncio.ensure_future(signals.woken())
                try:
                    await asyncio.wait({task, waking}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waking.cancel()
        finally:
            if not task.done():
                task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    async def _next_plan(self) -> ChunkPlan | None:
        """Waits for the next chunk; returns None if all speech is used or another task is due."""
        stream = self._stream
        while not self._disturbed():
            if stream.outbox.waiting_frames > stream.spec.new_frames:
                # Far enough ahead: a chunk made now might be interrupted before it is shown.
                await self._below(stream.spec.new_frames)
                continue
            version = stream.intake.version
            wait_s = self._latest_s() - now_s()
            chunk = next_chunk(
                stream.spec,
                stream.setting.idle_policy,
                stream.intake.front(stream.spec.new_samples),
                finished=stream.intake.finished,
                latest=wait_s <= 0,
                can_hold=bool(self._progress.state.history),
                can_loop=len(self._progress.state.loop) == stream.loop_chunks,
                listening=stream.outbox.activity == LISTENING,
            )
            if chunk is None:
                return None
            if isinstance(chunk, NextChunk):
                return await self._plan(chunk)
            timeout_s = max(wait_s, 0.0) if chunk is Wait.UNTIL_LATEST else None
            await self._heard(version, timeout_s)
        return None

    def _latest_s(self) -> float:
        """Returns the latest start of the next chunk that is in time, on the loop's clock."""
        stream = self._stream
        if not stream.outbox.clock.started:
            return self._opened_s + FIRST_IDLE_AFTER_S
        frame = self._progress.state.position.next_frame
        return stream.outbox.clock.due_s(frame) - stream.lead.seconds

    async def _heard(self, version: int, timeout_s: float | None) -> None:
        """Waits for more speech than this version needs, a signal, or the timeout."""
        stream = self._stream
        stream.signals.clear()
        stream.intake.on_change = self._weigh
        try:
            if stream.intake.version == version:
                async with asyncio.timeout(timeout_s):
                    await stream.signals.woken()
        except TimeoutError:
            pass
        finally:
            stream.intake.on_change = None

    def _weigh(self) -> None:
        """Wakes the conductor if new speech can change its decision: nine of ten packets cannot."""
        if self._stream.intake.decides(self._stream.spec.new_samples):
            self._stream.signals.wake()

    async def _below(self, frames: int) -> None:
        """Waits until at most that many frames are queued, or for a signal."""
        stream = self._stream
        stream.signals.clear()
        tasks = {
            asyncio.ensure_future(stream.outbox.below(frames)),
            asyncio.ensure_future(stream.signals.woken()),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _plan(self, chunk: NextChunk) -> ChunkPlan:
        stream, state = self._stream, self._progress.state
        clock = stream.outbox.clock
        if not clock.started:
            # So late that the next chunk can be begun after its speech was spoken.
            lead_s = stream.lead.seconds + JITTER_FRAMES / stream.spec.fps
            clock.expect(state.position.next_frame, now_s() + lead_s)
        pcm_S = await stream.intake.take(chunk.portion, stream.spec.new_samples, chunk.lead_in)
        if chunk.missing:
            metrics.UNDERRUNS.inc()
            metrics.MISSING_SAMPLES.inc(chunk.missing)
            underrun = stream_pb2.Underrun(
                frame_index=state.position.next_frame, missing_samples=chunk.missing
            )
            await stream.outbox.put(stream_pb2.StreamResponse(underrun=underrun))
        step = next_step(state) if chunk.looped else Step(0, backward=False)
        return ChunkPlan(
            index=state.position.chunk_index,
            epoch=state.epoch,
            first_frame=state.position.next_frame,
            frames=chunk.frames,
            pcm_S=pcm_S,
            input_samples=stream.intake.used,
            utterances=stream.intake.utterances,
            activity=chunk.activity,
            held_frame=state.history[-1].plan.held_frame or state.history[-1].plan.frames
            if chunk.held
            else 0,
            speech_begin=chunk.lead_in,
            speech_samples=chunk.portion.samples,
            loop_chunk=step.chunk,
            backward=step.backward,
        )
