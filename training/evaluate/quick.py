"""Quick measures for a training loop: lip correlation and patches of a sample.

Legend: T frames, K track columns.
"""

import numpy as np

from flashtalk.arrays import Frames, RealArray
from flashtalk.errors import InputError
from training.data.synthtalk.tracks import TRACK_COLUMNS, TRACK_INDEX
from training.evaluate.lips import pearson
from training.evaluate.patches import patched_percent
from training.evaluate.probes import Measurement, Probes
from training.evaluate.redrawn import background_of, redraw, tracks_read
from training.evaluate.reference_clip import ReferenceClip


def quick_lip_corr(
    frames_u8_THWC: Frames, tracks: RealArray, probes: Probes | None = None
) -> float:
    """Returns Pearson r of the measured mouth opening against the truth.

    Args:
        frames_u8_THWC: uint8 [T, H, W, 3]; several clips may be joined along T.
        tracks: SynthTalk tracks [T, K], or the opening alone [T].
        probes: the loaded probes; None loads the shipped ones (20 ms).

    Raises:
        InputError: tracks of another length or number of columns.
        WeightsError: the probes are missing.
    """
    truth_T = np.asarray(tracks, np.float32)
    if truth_T.ndim == 2 and truth_T.shape[1] == len(TRACK_COLUMNS):
        truth_T = truth_T[:, TRACK_INDEX["openness"]]
    if truth_T.shape != (len(frames_u8_THWC),):
        raise InputError("tracks", np.shape(tracks), f"[{len(frames_u8_THWC)}, K] or [T]")
    measured = (probes or Probes.load()).measure(frames_u8_THWC)
    return pearson(measured.tracks["openness"], truth_T)


def quick_patched(frames_u8_THWC: Frames, clip: ReferenceClip, measured: Measurement) -> float:
    """Mean percentage of the body's pixels that no drawing explains (``patches``).

    Args:
        frames_u8_THWC: uint8 [T, H, W, 3], one video of the clip's person.
        clip: the person, and the position of the true body.
        measured: the probes' measurement of the video.

    Returns:
        NaN if the clip cannot be drawn.
    """
    tracks_TK = tracks_read(clip, measured)
    redrawn = redraw(frames_u8_THWC, clip, tracks_TK, background_of(clip, tracks_TK))
    return float("nan") if redrawn is None else float(patched_percent(redrawn).mean())
