"""One number for a training loop: how well do the lips of a sample follow its track?

Legend: T frames, K track columns.
"""

import numpy as np
from numpy.typing import NDArray

from flashtalk.errors import InputError
from training.data.synthtalk.tracks import TRACK_COLUMNS, TRACK_INDEX
from training.evaluate.fidelity import Video
from training.evaluate.lips import pearson
from training.evaluate.probes import Probes


def quick_lip_corr(
    frames_u8_THWC: Video, tracks: NDArray[np.floating], probes: Probes | None = None
) -> float:
    """Pearson r of the measured mouth opening against the truth.

    Args:
        frames_u8_THWC: uint8 [T, H, W, 3]; several clips may be joined along T.
        tracks: SynthTalk tracks [T, K], or the opening alone [T].
        probes: the loaded probes; None loads the shipped ones (20 ms).

    Raises:
        InputError: tracks of another length or number of columns.
        WeightsError: no probes are there.
    """
    truth_T = np.asarray(tracks, np.float32)
    if truth_T.ndim == 2 and truth_T.shape[1] == len(TRACK_COLUMNS):
        truth_T = truth_T[:, TRACK_INDEX["openness"]]
    if truth_T.shape != (len(frames_u8_THWC),):
        raise InputError("tracks", np.shape(tracks), f"[{len(frames_u8_THWC)}, K] or [T]")
    measured = (probes or Probes.load()).measure(frames_u8_THWC)
    return pearson(measured.tracks["openness"], truth_T)
