"""One chunk of one session, from its plan to its commit; and repeated sending of chunks.

The plan is stored before the first frame is sent and the state after the last: a gateway that takes
over in between makes the same chunk and sends the frames that the client has not received.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Callable
from contextlib import aclosing

from flashtalk.arrays import FloatArray
from flashtalk.serving.tracing import About, own_trace, trace_id
from flashtalk.v1 import session_service_pb2 as session_pb2
from flashtalk.v1 import stream_pb2
from flashtalk.wire import pcm_to_bytes
from services.gateway import metrics
from services.gateway.chunk_times import ChunkTimes
from services.gateway.sessions.rewind import after_chunk
from services.gateway.store.records import ChunkPlan, ChunkRecord
from services.gateway.stream.idle_loop import loop_after, shown_latent_frames
from services.gateway.stream.open_stream import OpenStream
from services.gateway.stream.outgoing import OutgoingFrame
from services.gateway.stream.progress import Progress


async def make_chunk(
    stream: OpenStream, progress: Progress, plan: ChunkPlan, keep: Callable[[Progress], None]
) -> Progress:
    """Makes a chunk, sends its frames, commits the session.

    Args:
        stream: the stream of the chunk.
        progress: before the chunk.
        plan: of the chunk.
        keep: is called with the progress that has this chunk as its current one, before any of its
            frames is sent: the state to cut if this task is cancelled.

    Returns:
        The progress after the chunk.
    """
    state = progress.state
    clock = stream.outbox.clock
    due_s = clock.due_s(plan.first_frame) if clock.paced else math.inf
    times = ChunkTimes(due_s)
    begun_s = times.now_s()
    name = stream.session_id
    stream.lead.begin()
    about: About = {"session_id": name, "chunk_index": plan.index, "epoch": plan.epoch}
    with own_trace("chunk", {**about, "frames": plan.frames}):
        record = await make_record(stream, progress, plan, times)
        keep(Progress(state, progress.scene, record))
        motion_z = await show(stream, record, state.epoch, times)
        loop = loop_after(state, record, stream.spec.new_frames, stream.loop_chunks)
        state = after_chunk(
            stream.spec, state, record, state.motion_z if motion_z is None else motion_z
        )
        state = dataclasses.replace(state, loop=loop)
        commit_s = times.now_s()
        await stream.store.commit(stream.session_id, stream.fence, state)
        times.add("commit", times.now_s() - commit_s)
        wall_s = times.now_s() - begun_s
        stream.lead.end()
        metrics.observe_chunk(times, wall_s)
        await stream.outbox.put(_report(stream, plan, times))
    return Progress(state, progress.scene)


async def make_record(
    stream: OpenStream, progress: Progress, plan: ChunkPlan, times: ChunkTimes
) -> ChunkRecord:
    """Stores the plan of a chunk and computes its latents, without frames."""
    if plan.held_frame:
        await stream.store.begin(stream.session_id, stream.fence, plan)
        return ChunkRecord(plan, progress.state.history[-1].latents)
    if plan.loop_chunk:
        await stream.store.begin(stream.session_id, stream.fence, plan)
        return ChunkRecord(plan, progress.state.loop[plan.loop_chunk - 1])
    return ChunkRecord(plan, await _latents(stream, progress, plan, times))


async def show(
    stream: OpenStream, record: ChunkRecord, epoch: int, times: ChunkTimes
) -> FloatArray | None:
    """Puts the frames of a chunk that the client has not had into the outbox.

    Args:
        stream: the stream of the chunk.
        record: the chunk.
        epoch: of the session now.
        times: collects the times.

    Returns:
        Motion latents [1, C, 2, h, w] after its last frame; None for a held picture.
    """
    motion_z: FloatArray | None
    plan = record.plan
    pcm = pcm_to_bytes(plan.pcm_S, stream.audio_encoding)
    skip = max(0, stream.outbox.next_frame - plan.first_frame)
    if plan.held_frame:
        request = stream.decode_request(record, plan.held_frame, epoch)
        async with aclosing(stream.held.frames(record, request, times)) as held:
            async for index, video, key_frame in held:
                if index >= skip:
                    await _put(stream, plan, pcm, index, video, key_frame)
        return None
    if plan.loop_chunk:
        new_frames = stream.spec.new_frames
        last = shown_latent_frames(plan, plan.frames, new_frames)
        pictures, motion_z = await stream.loop.chunk(
            record,
            stream.decode_request(record, new_frames, epoch),
            stream.decode_request(record, last, epoch),
            times,
        )
        for frame in pictures[skip : plan.frames]:
            await _put(stream, plan, pcm, frame.index, frame.video, frame.key_frame)
        return motion_z
    motion_z = None
    request = stream.decode_request(record, plan.frames, epoch)
    async with aclosing(stream.maker.frames(request, record.latents, times, skip)) as parts:
        async for part in parts:
            motion_z = part.motion_z
            if part.frames:
                stream.lead.frame(part.frames[0].index)  # the other frames are due later
            for frame in part.frames:
                await _put(stream, plan, pcm, frame.index, frame.video, frame.key_frame)
    return motion_z


async def _latents(
    stream: OpenStream, progress: Progress, plan: ChunkPlan, times: ChunkTimes
) -> FloatArray:
    state = progress.state
    window = state.position.window(stream.spec, plan.pcm_S)
    key = stream.key(plan.index, state.epoch)
    async with asyncio.TaskGroup() as group:
        # Stored while the speech is encoded: well before the first frame is sent.
        group.create_task(stream.store.begin(stream.session_id, stream.fence, plan))
        features = await stream.maker.features(key, window, times)
    return await stream.maker.latents(
        key, stream.setting.seed, progress.scene, features, state.motion_z, times
    )


async def _put(
    stream: OpenStream, plan: ChunkPlan, pcm: bytes, index: int, video: bytes, key_frame: bool
) -> None:
    number, size = plan.first_frame + index, stream.spec.samples_per_frame
    frame_bytes = size * len(pcm) // len(plan.pcm_S)
    if index == 0:
        await stream.outbox.put_activity(plan.activity, number)
    sound = pcm[index * frame_bytes : (index + 1) * frame_bytes]
    await stream.outbox.put_frame(
        OutgoingFrame(number, number * size, sound, video, key_frame, plan.index, plan.epoch)
    )


def _report(stream: OpenStream, plan: ChunkPlan, times: ChunkTimes) -> stream_pb2.StreamResponse:
    report = stream_pb2.ChunkReport(
        chunk_index=plan.index,
        epoch=plan.epoch,
        first_frame=plan.first_frame,
        frames=plan.frames,
        real_time_factor=times.compute_s * stream.spec.fps / stream.spec.new_frames,
        retries=times.retries,
        input_samples=plan.input_samples,
        utterances=plan.utterances,
        trace_id=trace_id() or "",
    )
    for stage, seconds in times.stages_s.items():
        report.stages.add(stage=stage).duration.FromNanoseconds(int(seconds * 1e9))
    if stream.setting.idle_policy != session_pb2.IDLE_POLICY_WAIT:
        report.late.FromNanoseconds(int(stream.outbox.late_s * 1e9))
    return stream_pb2.StreamResponse(chunk=report)
