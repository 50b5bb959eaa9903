"""The reference for generated pixels: the person drawn in the poses of the video itself.

A generated person moves differently from the true clip, which is therefore no reference for its
pixels.  The renderer gives a better one: it draws the same person in the measured pose of a frame.
The remaining difference is due to the picture and not to motion.

Legend: T frames, H W pixels, K track columns.
"""

from dataclasses import dataclass

import numpy as np

from flashtalk.arrays import BoolArray, FloatArray, Frames
from training.evaluate.probes import MOUTH_OUTPUTS, POSE_OUTPUTS, Measurement
from training.evaluate.reference_clip import ReferenceClip

# Four frames share a latent: the three others would give nearly the same values.
EVERY_FRAMES = 4


@dataclass(frozen=True)
class Redrawn:
    """Returns every fourth frame of a video and its drawing, both uint8 [T, H, W, 3].

    ``body_HW`` is the area of the body over time, in the true clip or in this video.
    """

    frames_THWC: Frames
    drawn_THWC: Frames
    body_HW: BoolArray


def tracks_read(clip: ReferenceClip, measured: Measurement) -> FloatArray:
    """Returns the renderer's tracks [T, K] of a video; unmeasured ones are constant."""
    tracks_TK = np.repeat(clip.tracks_TK[:1], len(measured.identity_TD), axis=0).copy()
    for name in (*POSE_OUTPUTS, *MOUTH_OUTPUTS):
        tracks_TK[:, clip.track_names.index(name)] = measured.tracks[name]
    return tracks_TK


def background_of(clip: ReferenceClip, tracks_TK: FloatArray) -> BoolArray:
    """Where neither the true body nor the measured one ever is: a generated head goes elsewhere."""
    if clip.background_under is None:
        return clip.background_HW
    return np.asarray(clip.background_HW & clip.background_under(tracks_TK), np.bool_)


def redraw(
    video_THWC: Frames,
    clip: ReferenceClip,
    tracks_TK: FloatArray,
    background_HW: BoolArray,
) -> Redrawn | None:
    """Returns the video with its drawing; None if the clip cannot be drawn."""
    if clip.drawn_under is None:
        return None
    drawn_THWC = clip.drawn_under(tracks_TK[::EVERY_FRAMES])
    return Redrawn(video_THWC[::EVERY_FRAMES], drawn_THWC, ~background_HW)
