"""All stored measurements of one video; the pixels are not needed afterwards.

Legend: T frames, D identity numbers.  If a video and its truth have different lengths, the common
frames are compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from flashtalk.arrays import BoolArray, DoubleArray, FloatArray, Frames
from training.evaluate.fidelity import (
    colour_error,
    frame_change,
    psnr_db,
    psnr_per_frame_db,
    sharpness,
)
from training.evaluate.frechet import Looks, looks_of
from training.evaluate.judges import Judges
from training.evaluate.patches import patched_percent
from training.evaluate.probes import Measurement, Probes
from training.evaluate.redrawn import EVERY_FRAMES, Redrawn, background_of, redraw, tracks_read
from training.evaluate.reference_clip import ReferenceClip


@dataclass(frozen=True)
class Reading:
    """One measured video beside its truth.  Curves are [T]; ``change_T`` is [T-1].

    ``patched_T`` is in percent, NaN if the person cannot be drawn.  ``scores`` are the judges'
    (``judges.Judges.scores``).
    """

    clip: str
    measured: Measurement
    portrait_D: FloatArray
    openness_T: FloatArray
    width_T: FloatArray
    silent_T: BoolArray
    change_T: DoubleArray
    sharpness_T: DoubleArray
    background_db_T: DoubleArray
    colour_T: DoubleArray
    patched_T: DoubleArray
    looks: Looks
    whole_db: float
    mouth_db: float
    wall_s: float
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Returns the number of measured frames."""
        return len(self.openness_T)


ReadingsByRow = Mapping[str, Sequence[Reading]]
"""The readings of a table's rows, by the name of the row."""


def read_video(
    video_THWC: Frames,
    clip: ReferenceClip,
    probes: Probes,
    *,
    wall_s: float = float("nan"),
    judges: Judges | None = None,
) -> Reading:
    """Measures one video of ``clip``; ``wall_s`` is the time of its generation.

    The judges compare it with the clip's own speech, even if it was made from other speech.
    """
    frames = min(len(video_THWC), len(clip.frames_THWC))
    video_THWC, truth_THWC = video_THWC[:frames], clip.frames_THWC[:frames]
    measured = probes.measure(video_THWC)
    tracks_TK = tracks_read(clip, measured)
    background_HW = background_of(clip, tracks_TK)
    redrawn = redraw(video_THWC, clip, tracks_TK, background_HW)
    portrait_THWC = clip.portrait_HWC[None]
    return Reading(
        clip=clip.name,
        measured=measured,
        portrait_D=probes.measure(portrait_THWC).identity_TD[0],
        openness_T=clip.track("openness")[:frames],
        width_T=clip.track("width")[:frames],
        silent_T=clip.silent_T[:frames],
        change_T=frame_change(video_THWC),
        sharpness_T=sharpness(video_THWC),
        background_db_T=psnr_per_frame_db(video_THWC, clip.portrait_HWC, background_HW),
        colour_T=colour_error(video_THWC, clip.portrait_HWC, background_HW),
        patched_T=_patched(redrawn, frames),
        looks=looks_of(redrawn, probes),
        whole_db=psnr_db(video_THWC, truth_THWC),
        mouth_db=psnr_db(video_THWC, truth_THWC, clip.mouth_THW[:frames]),
        wall_s=wall_s,
        scores=(judges or Judges()).scores(video_THWC, clip.pcm_N, measured, background_HW),
    )


def _patched(redrawn: Redrawn | None, frames: int) -> DoubleArray:
    """The patched percentage of every frame [T]; those in between have that of the last one."""
    if redrawn is None:
        return np.full(frames, np.nan)
    return patched_percent(redrawn).repeat(EVERY_FRAMES)[:frames]
