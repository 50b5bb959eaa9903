"""What is known about a session, as values: all that another gateway needs to go on with it.

Legend: C latent channels, F latent frames, M motion latents, h w latent size, S samples.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from flashtalk.arrays import FloatArray
from flashtalk.streaming import Pcm, Position


@dataclass(frozen=True)
class SessionSetting:
    """What CreateSession fixed; never changes.

    Args:
        session_id: name of the session.
        request_id, request_digest: of the request that made it; equal ids need equal digests.
        width_px, height_px, seed: of the video.
        video_codec, idle_policy, pacing: numbers of the enums in flashtalk.v1.
        asset: name of its ``SessionAsset``.
        created_s: seconds since 1970.
        ttl_s: life without a stream; ``max_lifetime_s``: life in all.
        key_name: of the API key that it belongs to; empty where none was asked for.
    """

    session_id: str
    request_id: str
    request_digest: str
    width_px: int
    height_px: int
    seed: int
    video_codec: int
    idle_policy: int
    pacing: int
    asset: str
    created_s: float
    ttl_s: float
    max_lifetime_s: float
    key_name: str = ""


@dataclass(frozen=True, eq=False)
class SessionAsset:
    """What the portrait and the prompt became; named by its conditioning's digest.

    Args:
        digest: of the conditioning.
        weights_digest: of the weights that made it.
        color: [2, 3] colour statistics of the portrait.
        conditioning: serialised ``flashtalk.v1.Conditioning``, for any DiT worker.
        portrait_z: [1, C, 1, h, w] latents of the portrait: the motion latents before chunk 0.
    """

    digest: str
    weights_digest: str
    color: FloatArray
    conditioning: bytes
    portrait_z: FloatArray


@dataclass(frozen=True, eq=False)
class ChunkPlan:
    """Which sound a chunk shows. Stored before any of its frames leaves, so that whoever takes over
    makes the same chunk.

    Args:
        index: number of the chunk.
        epoch: interruptions before it.
        first_frame: number of its first frame.
        frames: shown ones, 1 to 28.
        pcm_S: [17920] samples, silence included.
        input_samples: speech used for good once this chunk is.
        utterances: ends of utterances used for good once this chunk is.
        activity: number of ``Activity.Kind``.
        held_frame: 0; or, where a picture is held instead of computing, which of the frames of the
            record's latents that is, 1 to 28.
        speech_begin, speech_samples: which of its samples are speech; the rest is silence.
    """

    index: int
    epoch: int
    first_frame: int
    frames: int
    pcm_S: Pcm
    input_samples: int
    utterances: int
    activity: int
    held_frame: int = 0
    speech_begin: int = 0
    speech_samples: int = 0


@dataclass(frozen=True, eq=False)
class ChunkRecord:
    """A chunk that was made: enough to send its frames again and to cut it at any frame.

    Args:
        plan: its sound.
        latents: [1, C, F, h, w]; of a held picture, those of the chunk that it is from.
    """

    plan: ChunkPlan
    latents: FloatArray


@dataclass(frozen=True, eq=False)
class SessionState:
    """Between two chunks.

    Args:
        epoch: interruptions so far.
        position: the next chunk to make and its first frame; the newest sound that was shown, 8 s
            and what a cut may take away (``sessions.rewind.tail_samples``).
        input_samples: speech used for good.
        utterances: ends of utterances used for good.
        motion_z: [1, C, M, h, w] that the next chunk continues (M = 1 before chunk 0).
        history: the newest chunks, oldest first; few.
        plan: of the next chunk, if it was begun.
    """

    epoch: int
    position: Position
    input_samples: int
    utterances: int
    motion_z: FloatArray
    history: tuple[ChunkRecord, ...] = ()
    plan: ChunkPlan | None = None

    def begin(self, plan: ChunkPlan) -> SessionState:
        """With a chunk begun."""
        return dataclasses.replace(self, plan=plan)


@dataclass(frozen=True, eq=False)
class SessionRecord:
    """A session as the store holds it.

    Args:
        setting: what never changes.
        state: between two chunks.
        fence: rises with every gateway (or stream) that takes the session; writes with an older one
            are refused.
        owner: name of the gateway that took it last; empty while no stream is open.
        expires_s: when it ends unless somebody writes, seconds since 1970.
    """

    setting: SessionSetting
    state: SessionState
    fence: int
    owner: str
    expires_s: float


@dataclass(frozen=True)
class InterruptRequest:
    """An interruption that was asked for elsewhere than on the stream."""

    interrupt_id: str
    played_frames: int | None


@dataclass(frozen=True)
class InterruptOutcome:
    """What became of an interruption; the fields of ``flashtalk.v1.Interrupted``."""

    interrupt_id: str
    played_frames: int
    played_samples: int
    dropped_samples: int
    epoch: int
    input_samples: int
    utterances: int


@dataclass(frozen=True)
class Signals:
    """What the owner of a session learns from a heartbeat."""

    deleted: bool
    interrupts: tuple[InterruptRequest, ...]
