"""Decides on the sound of the next chunk: buffered speech, the end of an utterance, or silence.

A pure function of the buffered speech and the deadline.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass

from flashtalk.streaming import StreamSpec
from flashtalk.v1 import session_service_pb2 as session_pb2
from flashtalk.v1 import stream_pb2
from services.gateway.stream.intake import Portion
from services.gateway.stream.pace import JITTER_FRAMES

SPEAKING = stream_pb2.Activity.KIND_SPEAKING
LISTENING = stream_pb2.Activity.KIND_LISTENING
IDLE = stream_pb2.Activity.KIND_IDLE


class Wait(enum.Enum):
    """There is no chunk to make yet."""

    FOR_SPEECH = "until speech arrives"
    UNTIL_LATEST = "until speech arrives, or the latest moment to begin"


@dataclass(frozen=True)
class NextChunk:
    """The next chunk.

    Args:
        portion: from the intake.
        frames: number of frames to show.
        activity: what the avatar does in it (``Activity.Kind``).
        lead_in: samples of silence before the portion.
        missing: samples of silence in place of late speech.
        held: the last picture is held; nothing is computed.
        looped: the next chunk of the idle loop is played; nothing is computed.
    """

    portion: Portion
    frames: int
    activity: int
    lead_in: int = 0
    missing: int = 0
    held: bool = False
    looped: bool = False


def next_chunk(
    spec: StreamSpec,
    idle_policy: int,
    portion: Portion,
    *,
    finished: bool,
    latest: bool,
    can_hold: bool,
    can_loop: bool,
    listening: bool,
) -> NextChunk | Wait | None:
    """Decides on the next chunk.

    Args:
        spec: spec of the stream.
        idle_policy: ``IdlePolicy`` of the session.
        portion: front of the intake, at most one chunk.
        finished: the client has ended its input.
        latest: the latest start that meets the chunk's deadline is reached.
        can_hold: there is a picture to hold.
        can_loop: the idle loop is complete.
        listening: the previous chunk left the beginning of an utterance in the intake.

    Returns:
        A chunk to make, what to wait for, or None: everything has been said and the stream ends.
    """
    if portion.samples == spec.new_samples:
        return NextChunk(portion, spec.new_frames, SPEAKING)
    waits = idle_policy == session_pb2.IDLE_POLICY_WAIT
    if portion.ended and portion.samples:
        if waits or finished:
            return NextChunk(portion, -(-portion.samples // spec.samples_per_frame), SPEAKING)
        return NextChunk(portion, spec.new_frames, SPEAKING)
    if finished and not portion.samples:
        return None
    if waits:
        return Wait.FOR_SPEECH
    if not latest:
        return Wait.UNTIL_LATEST
    held = can_hold and idle_policy == session_pb2.IDLE_POLICY_HOLD
    looped = can_loop and idle_policy == session_pb2.IDLE_POLICY_LOOP
    return _late_chunk(spec, portion, held=held, looped=looped, listening=listening)


def _late_chunk(
    spec: StreamSpec, portion: Portion, *, held: bool, looped: bool, listening: bool
) -> NextChunk:
    """Returns the next chunk when speech for a whole chunk did not arrive in time."""
    if portion.begins:
        # The beginning of an utterance is placed at the chunk's end, so that the rest follows
        # without a gap. A little of it is kept back, once, since the next packet may be late.
        samples = portion.samples
        if not listening:
            samples = max(0, samples - JITTER_FRAMES * spec.samples_per_frame)
        if not samples:
            nothing = Portion(0, False, True)
            return NextChunk(nothing, spec.new_frames, LISTENING, held=held, looped=looped)
        kept = dataclasses.replace(portion, samples=samples)
        return NextChunk(kept, spec.new_frames, SPEAKING, lead_in=spec.new_samples - samples)
    if portion.open:
        activity = SPEAKING if portion.samples else LISTENING
        missing = spec.new_samples - portion.samples
        return NextChunk(portion, spec.new_frames, activity, missing=missing)
    return NextChunk(portion, spec.new_frames, IDLE, held=held, looped=looped)
