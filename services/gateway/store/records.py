"""The stored values of a session: all that another gateway needs to continue it.

Legend: C latent channels, F latent frames, M motion latents, h w latent size, S samples.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from flashtalk.arrays import FloatArray
from flashtalk.streaming import Pcm, Position, StreamSpec


@dataclass(frozen=True)
class SessionSetting:
    """The values fixed by CreateSession; they never change.

    Args:
        session_id: name of the session.
        request_id, request_digest: of the creating request; equal ids need equal digests.
        width_px, height_px, seed: of the video.
        video_codec, idle_policy, pacing: enum numbers of flashtalk.v1.
        asset: name of its ``SessionAsset``.
        created_s: seconds since 1970.
        ttl_s: lifetime without a stream; ``max_lifetime_s``: total lifetime.
        key_name: name of its API key; empty without one.
        spec: stream spec of the weights of its workers.
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
    spec: StreamSpec = field(default_factory=StreamSpec)


@dataclass(frozen=True, eq=False)
class SessionAsset:
    """The encoded portrait and prompt; named by the digest of the conditioning.

    Args:
        digest: of the conditioning.
        weights_digest: of the weights that computed it.
        color: [2, 3] colour statistics of the portrait.
        conditioning: serialised ``flashtalk.v1.Conditioning``, for any DiT worker.
        portrait_z: [1, C, 1, h, w] latents of the portrait: the motion latents before chunk 0.
        portrait_rgb: the portrait, uint8 [H, W, 3] in bytes, for another prompt; empty in assets of
            older gateways.
    """

    digest: str
    weights_digest: str
    color: FloatArray
    conditioning: bytes
    portrait_z: FloatArray
    portrait_rgb: bytes = b""


@dataclass(frozen=True, eq=False)
class ChunkPlan:
    """The sound of a chunk. Stored before any of its frames is sent, so that another gateway makes
    the same chunk.

    Args:
        index: number of the chunk.
        epoch: number of interruptions before it.
        first_frame: number of its first frame.
        frames: number of frames to show, 1 to 28.
        pcm_S: [17920] samples, silence included.
        input_samples: position in the speech input after this chunk.
        utterances: number of ended utterances after this chunk.
        activity: number of ``Activity.Kind``.
        held_frame: 0 for a computed chunk; 1 to 28 for a held picture: its frame in the record's
            latents.
        speech_begin, speech_samples: the range of its samples that is speech; the rest is silence.
        loop_chunk: 0 for a computed chunk; 1 and more: its place in the idle loop.
        backward: it is played backward.
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
    loop_chunk: int = 0
    backward: bool = False


@dataclass(frozen=True, eq=False)
class ChunkRecord:
    """A chunk that was made, with all that is needed to send its frames again or to cut it.

    Args:
        plan: its sound.
        latents: [1, C, F, h, w]; for a held picture or a chunk of the idle loop, those of its
            source chunk.
    """

    plan: ChunkPlan
    latents: FloatArray


@dataclass(frozen=True)
class PromptOutcome:
    """The outcome of a prompt update that must not be carried out again.

    Args:
        update_id: chosen by the client.
        outcome: number of ``PromptUpdated.Outcome``: applied or superseded.
        first_frame: first frame that is generated with the prompt; 0 if it was superseded.
    """

    update_id: str
    outcome: int
    first_frame: int = 0


@dataclass(frozen=True, eq=False)
class SessionState:
    """The state between two chunks.

    Args:
        epoch: number of interruptions so far.
        position: the next chunk and its first frame; the newest sound that was shown, 8 s plus the
            longest cut (``sessions.rewind.tail_samples``).
        input_samples: position in the speech input.
        utterances: number of ended utterances.
        motion_z: [1, C, M, h, w] that the next chunk continues (M = 1 before chunk 0).
        history: the newest few chunks, oldest first.
        plan: of the next chunk, if it has begun; it is made with ``scene``.
        scene: digest of the asset with the newest prompt; empty for that of the setting.
        prompt_outcomes: of the newest prompt updates, oldest first.
        loop: latents [1, C, F, h, w] of the chunks of the idle loop, complete or not.
    """

    epoch: int
    position: Position
    input_samples: int
    utterances: int
    motion_z: FloatArray
    history: tuple[ChunkRecord, ...] = ()
    plan: ChunkPlan | None = None
    scene: str = ""
    prompt_outcomes: tuple[PromptOutcome, ...] = ()
    loop: tuple[FloatArray, ...] = ()

    def begin(self, plan: ChunkPlan) -> SessionState:
        """Returns the state with a begun chunk."""
        return dataclasses.replace(self, plan=plan)


@dataclass(frozen=True, eq=False)
class SessionRecord:
    """A session as stored.

    Args:
        setting: its constant values.
        state: between two chunks.
        fence: increases with every gateway (or stream) that takes the session; writes with an older
            fence are rejected.
        owner: name of the gateway that took it last; empty without an open stream.
        expires_s: end of its life unless it is written again, seconds since 1970.
    """

    setting: SessionSetting
    state: SessionState
    fence: int
    owner: str
    expires_s: float


@dataclass(frozen=True)
class InterruptRequest:
    """An interruption that was requested elsewhere than on the stream."""

    interrupt_id: str
    played_frames: int | None


@dataclass(frozen=True)
class InterruptOutcome:
    """The outcome of an interruption; the fields of ``flashtalk.v1.Interrupted``."""

    interrupt_id: str
    played_frames: int
    played_samples: int
    dropped_samples: int
    epoch: int
    input_samples: int
    utterances: int


@dataclass(frozen=True)
class Signals:
    """The result of an owner's heartbeat."""

    deleted: bool
    interrupts: tuple[InterruptRequest, ...]
