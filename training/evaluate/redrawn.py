"""What is judged beside what should be seen: the person drawn in the poses of the video itself.

A generated person moves in a way of its own, so its true clip is no reference for its pixels.  The
drawn world has a better one: read the pose of a frame and let the renderer draw the same person in
that pose.  What then differs is the picture and not the movement.

Legend: T frames, H W pixels, K track columns.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashtalk.arrays import BoolArray, Frames
from training.evaluate.clip import Clip
from training.evaluate.probes import MOUTH_OUTPUTS, POSE_OUTPUTS, Measurement

# Four frames share a latent: the three others would say nearly the same again.
EVERY_FRAMES = 4


@dataclass(frozen=True)
class Redrawn:
    """Every fourth frame of a video and its drawing, both uint8 [T, H, W, 3].

    ``body_HW`` is where the body is at any time, in the true clip or in this video.
    """

    frames_THWC: Frames
    drawn_THWC: Frames
    body_HW: BoolArray


def tracks_read(clip: Clip, measured: Measurement) -> NDArray[np.float32]:
    """The renderer's tracks [T, K] of a measured video; what no probe reads stays as it began."""
    tracks_TK = np.repeat(clip.tracks_TK[:1], len(measured.identity_TD), axis=0).copy()
    for name in (*POSE_OUTPUTS, *MOUTH_OUTPUTS):
        tracks_TK[:, clip.track_names.index(name)] = measured.tracks[name]
    return tracks_TK


def background_of(clip: Clip, tracks_TK: NDArray[np.float32]) -> BoolArray:
    """Where neither the true body nor the measured one ever is: a generated head goes elsewhere."""
    if clip.background_under is None:
        return clip.background_HW
    return np.asarray(clip.background_HW & clip.background_under(tracks_TK), np.bool_)


def redraw(
    video_THWC: Frames, clip: Clip, tracks_TK: NDArray[np.float32], background_HW: BoolArray
) -> Redrawn | None:
    """The video beside its drawing; None where the clip cannot be drawn."""
    if clip.drawn_under is None:
        return None
    drawn_THWC = clip.drawn_under(tracks_TK[::EVERY_FRAMES])
    return Redrawn(video_THWC[::EVERY_FRAMES], drawn_THWC, ~background_HW)
