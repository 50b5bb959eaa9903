"""Carrying out an interruption, which is a barrier (docs/architecture.md).

Everything that was sent before it and has not been shown is dropped: buffered speech, the chunk in
progress, and queued frames. The session is cut at the last frame that was shown, from which the
avatar continues. The epoch increases, so that workers drop older work.
"""

from __future__ import annotations

import dataclasses

from flashtalk.serving.tracing import span
from flashtalk.streaming import StreamSpec
from flashtalk.v1 import stream_pb2
from services.gateway import metrics
from services.gateway.chunk_times import ChunkTimes
from services.gateway.loop_clock import now_s
from services.gateway.sessions.rewind import CutPoint, after_cut, find_cut, oldest_cut
from services.gateway.store.records import InterruptOutcome, InterruptRequest, SessionState
from services.gateway.stream.chunk_run import make_record
from services.gateway.stream.idle_loop import shown_latent_frames
from services.gateway.stream.open_stream import OpenStream
from services.gateway.stream.progress import Progress
from services.gateway.stream.signals import Asked


async def interrupt(
    stream: OpenStream, progress: Progress, asked: Asked
) -> tuple[InterruptOutcome, Progress]:
    """Carries out one interruption; no chunk may be in progress.

    ``played_frames`` is limited to the frames that were sent and that the history covers.

    Returns:
        The outcome, and the progress after it.
    """
    begun_s = now_s()
    with span("interrupt", {"session_id": stream.session_id, "epoch": progress.state.epoch}):
        stream.outbox.flush()
        played = _played(stream, progress, asked.request)
        before, begun = progress.state, progress.state.plan
        if begun is not None and progress.current is None and played > before.position.next_frame:
            # The gateway before this one showed a part of it: it is cut, so it has to be there.
            made = await make_record(stream, progress, begun, ChunkTimes())
            progress = dataclasses.replace(progress, current=made)
        heard = _heard_samples(stream.spec, progress, played)
        await stream.intake.drop(asked.mark)
        state = await _cut(stream, progress, played)
        state = dataclasses.replace(
            state,
            epoch=state.epoch + 1,
            input_samples=stream.intake.used,
            utterances=stream.intake.utterances,
            plan=None,
        )
        await stream.store.commit(stream.session_id, stream.fence, state)
        stream.outbox.rewind(played)
        outcome = InterruptOutcome(
            interrupt_id=asked.request.interrupt_id,
            played_frames=played,
            played_samples=played * stream.spec.samples_per_frame,
            dropped_samples=stream.intake.used - heard,
            epoch=state.epoch,
            input_samples=state.input_samples,
            utterances=state.utterances,
        )
        await stream.outbox.put(stream_pb2.StreamResponse(interrupted=as_message(outcome)))
    metrics.INTERRUPT_SECONDS.observe(now_s() - begun_s)
    return outcome, Progress(state, progress.scene)


def as_message(outcome: InterruptOutcome) -> stream_pb2.Interrupted:
    """Returns the public form of an outcome."""
    return stream_pb2.Interrupted(**dataclasses.asdict(outcome))


def _played(stream: OpenStream, progress: Progress, request: InterruptRequest) -> int:
    sent = stream.outbox.sent_frames
    wanted = request.played_frames
    if wanted is None:
        wanted = stream.outbox.clock.played(sent)
    return max(oldest_cut(progress.state, progress.current), min(wanted, sent))


def _heard_samples(spec: StreamSpec, progress: Progress, played: int) -> int:
    """Returns the samples of speech in the first ``played`` frames of the session."""
    state, size = progress.state, spec.samples_per_frame
    chunks = [r.plan for r in state.history]
    if progress.current is not None:
        chunks.append(progress.current.plan)
    heard = state.input_samples
    for plan in reversed(chunks):
        before = plan.input_samples - plan.speech_samples
        shown = (played - plan.first_frame) * size - plan.speech_begin
        heard = before + max(0, min(plan.speech_samples, shown))
        if played > plan.first_frame:
            break
    return heard


async def _cut(stream: OpenStream, progress: Progress, played: int) -> SessionState:
    state = progress.state
    point = find_cut(state, progress.current, played)
    if point is None:
        return state
    if point.record is None:
        return after_cut(stream.spec, state, point, stream.asset.portrait_z)
    # For a held picture, the motion before it; backward, the motion that led to the picture once.
    plan = point.record.plan
    frames = shown_latent_frames(plan, point.frames, stream.spec.new_frames)
    request = stream.decode_request(point.record, frames, state.epoch)
    times = ChunkTimes(due_s=now_s())
    motion_z = await stream.maker.motion(request, point.record.latents, times)
    return after_cut(stream.spec, state, CutPoint(point.record, point.frames), motion_z)
