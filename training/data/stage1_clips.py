"""Which clips of an utterance Stage 1 sees, and which frames may be their reference.

Legend: T frames of an utterance.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec

# A reference's distance from its clip.
NEAREST_S, FARTHEST_S = 1.0, 10.0


@dataclass(frozen=True)
class ClipPlan:
    """Clips per utterance: ``spread`` evenly spaced ones and the lead-in.

    The lead-in clip is what the first chunk of a stream looks like: the first frame held for the
    motion frames, without sound, then the beginning of the video.
    """

    spread: int = 7
    lead_in: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.spread < 2:
            raise InputError("spread", self.spread, "at least 2: each is the other's reference")

    @property
    def per_utterance(self) -> int:
        """Clips of one utterance."""
        return self.spread + int(self.lead_in)


def clip_starts(
    plan: ClipPlan, utterance: int, total: int, spec: StreamSpec
) -> npt.NDArray[np.int64]:
    """First frames of the clips of one utterance; the lead-in's is minus the motion frames.

    Raises:
        InputError: the utterance is too short to leave a reference outside each clip.
    """
    last = total - spec.chunk_frames
    if last < spec.chunk_frames:
        limit = f"at least {2 * spec.chunk_frames} frames, to leave a reference outside the clip"
        raise InputError("utterance frames", total, limit)
    rng = np.random.default_rng([plan.seed, utterance])
    even = np.linspace(0, last, plan.spread)
    reach = last / max(1, plan.spread - 1) / 4
    jitter = rng.uniform(-reach, reach, plan.spread)
    # The first and last clips stay at the ends, so that a reference outside always exists.
    jitter[[0, -1]] = 0.0
    starts = np.clip(np.round(even + jitter), 0, last).astype(np.int64)
    if plan.lead_in:
        starts = np.concatenate([[-spec.motion_frames], starts])
    return starts


def clip_frame_rows(start: int, spec: StreamSpec) -> npt.NDArray[np.int64]:
    """Rows of the utterance's frames that make a clip; negative ones hold the first frame."""
    return np.maximum(np.arange(start, start + spec.chunk_frames), 0)


def reference_choices(
    starts: npt.NDArray[np.int64], place: int, spec: StreamSpec
) -> npt.NDArray[np.int64]:
    """Which clips' first frames may be the reference of clip ``place`` (training.md 1.1, 3)."""
    return references_outside(starts, int(starts[place]), spec)


def references_outside(
    starts: npt.NDArray[np.int64], first: int, spec: StreamSpec
) -> npt.NDArray[np.int64]:
    """Which clips' first frames may be the reference of the chunk that begins at frame ``first``.

    They lie outside the chunk, 1 to 10 s from its edges where there are such.
    """
    frames = np.maximum(starts, 0)
    end = first + spec.chunk_frames
    outside = (frames < max(first, 0)) | (frames >= end)
    distance = np.where(frames < first, first - frames, frames - (end - 1))
    near = outside & (distance >= NEAREST_S * spec.fps) & (distance <= FARTHEST_S * spec.fps)
    return np.flatnonzero(near if near.any() else outside)
