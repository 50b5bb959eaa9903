"""Which sound the next chunk shows: speech that is there, the end of an utterance, or silence.

Pure: what is there and how late it is go in, a decision comes out.
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
    """There is nothing to make yet."""

    FOR_SPEECH = "until speech arrives"
    UNTIL_LATEST = "until speech arrives, or the latest moment to begin"


@dataclass(frozen=True)
class NextChunk:
    """The next chunk.

    Args:
        portion: of the intake.
        frames: that are shown.
        activity: what the avatar does in it (``Activity.Kind``).
        lead_in: samples of silence before the portion.
        missing: samples of silence in place of speech that did not come in time.
        held: no computing: the last picture is held.
    """

    portion: Portion
    frames: int
    activity: int
    lead_in: int = 0
    missing: int = 0
    held: bool = False


def next_chunk(
    spec: StreamSpec,
    idle_policy: int,
    portion: Portion,
    *,
    finished: bool,
    latest: bool,
    can_hold: bool,
    listening: bool,
) -> NextChunk | Wait | None:
    """Decide.

    Args:
        spec: the stream contract.
        idle_policy: ``IdlePolicy`` of the session.
        portion: front of the intake, of at most one chunk.
        finished: the client has said that nothing follows.
        latest: the latest moment to begin, so that the chunk is in time, has come.
        can_hold: there is a picture to hold.
        listening: the chunk before left the beginning of an utterance in the intake.

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
    return _late_chunk(spec, portion, held=held, listening=listening)


def _late_chunk(spec: StreamSpec, portion: Portion, *, held: bool, listening: bool) -> NextChunk:
    """What is shown where speech for a whole chunk did not come in time."""
    if portion.begins:
        # The beginning of an utterance stands at the chunk's end, where the rest of it joins on
        # without a gap. A little of it is kept back, once: what comes next may come late.
        samples = portion.samples
        if not listening:
            samples = max(0, samples - JITTER_FRAMES * spec.samples_per_frame)
        if not samples:
            return NextChunk(Portion(0, False, True), spec.new_frames, LISTENING, held=held)
        kept = dataclasses.replace(portion, samples=samples)
        return NextChunk(kept, spec.new_frames, SPEAKING, lead_in=spec.new_samples - samples)
    if portion.open:
        activity = SPEAKING if portion.samples else LISTENING
        missing = spec.new_samples - portion.samples
        return NextChunk(portion, spec.new_frames, activity, missing=missing)
    return NextChunk(portion, spec.new_frames, IDLE, held=held)
