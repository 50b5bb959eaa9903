"""All motion except the mouth's: head, eyes, brows and hands.

Legend: T frames at 25 fps. Head and hands follow Ornstein-Uhlenbeck processes; speech energy adds
nods, gestures and raised brows, so that audio explains part of the motion.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks, lfilter

from flashtalk.arrays import DoubleArray, FloatArray, IntArray
from flashtalk.streaming import FPS, PCM_HZ
from training.data.synthtalk.tracks import TRACK_COLUMNS, TRACK_INDEX

TAU_S = 0.8
BLINKS_PER_S = 0.25
BLINK_PROFILE = (0.45, 1.0, 1.0, 0.7, 0.25)
SAMPLES_PER_FRAME = PCM_HZ // FPS
LOUD_RMS = 0.16

# column: (standard deviation, limit) of the process, in the units of tracks.py
_WANDER: dict[str, tuple[float, float]] = {
    "head_x": (0.022, 0.055),
    "head_y": (0.010, 0.025),
    "head_roll": (0.045, 0.11),
    "head_scale": (0.016, 0.035),
    "gaze_x": (0.4, 1.0),
    "gaze_y": (0.3, 1.0),
    "hand_l_x": (0.014, 0.03),
    "hand_l_y": (0.014, 0.03),
    "hand_l_angle": (0.16, 0.4),
    "hand_r_x": (0.014, 0.03),
    "hand_r_y": (0.014, 0.03),
    "hand_r_angle": (0.16, 0.4),
}


def wander(rng: np.random.Generator, frames: int, deviation: float, limit: float) -> DoubleArray:
    """An Ornstein-Uhlenbeck path ``[T]`` with time constant 0.8 s, softly limited."""
    keep = np.exp(-1.0 / (FPS * TAU_S))
    noise = rng.normal(0.0, np.sqrt(1.0 - keep**2), frames)
    noise[0] = rng.normal()
    path, _ = lfilter([1.0], [1.0, -keep], noise[1:], zi=[keep * noise[0]])
    # Smoothed: the raw process jitters between frames, unlike heads.
    smooth = gaussian_filter1d(np.concatenate([noise[:1], path]), 2.0, mode="nearest")
    return np.asarray(limit * np.tanh(smooth * deviation / limit))


def speech_energy(pcm_16k: FloatArray, frames: int) -> DoubleArray:
    """Loudness of each frame's 40 ms, ``[T]`` in [0, 1], smoothed over about 0.1 s."""
    blocks = pcm_16k[: frames * SAMPLES_PER_FRAME].reshape(frames, SAMPLES_PER_FRAME)
    rms = np.sqrt((blocks.astype(np.float64) ** 2).mean(axis=1))
    return np.clip(gaussian_filter1d(rms, 1.2, mode="nearest") / LOUD_RMS, 0.0, 1.0)


def stresses(energy: DoubleArray) -> IntArray:
    """Frames of the energetic syllables: peaks at least 0.32 s apart that stand out."""
    peaks, _ = find_peaks(energy, height=0.35, distance=int(0.32 * FPS), prominence=0.12)
    return np.asarray(peaks, dtype=np.int64)


def _bumps(frames: int, at: IntArray, sizes: DoubleArray, width: float) -> DoubleArray:
    impulses = np.zeros(frames)
    np.add.at(impulses, at, sizes)
    peak = 1.0 / (width * np.sqrt(2.0 * np.pi))
    return np.asarray(gaussian_filter1d(impulses, width, mode="constant") / peak)


def _blinks(rng: np.random.Generator, frames: int) -> DoubleArray:
    blink = np.zeros(frames + len(BLINK_PROFILE))
    at = rng.exponential(1.0 / BLINKS_PER_S)
    while at * FPS < frames:
        first = int(at * FPS)
        blink[first : first + len(BLINK_PROFILE)] = BLINK_PROFILE
        at += len(BLINK_PROFILE) / FPS + rng.exponential(1.0 / BLINKS_PER_S)
    return blink[:frames]


def motion_tracks(rng: np.random.Generator, pcm_16k: FloatArray, mouth: FloatArray) -> FloatArray:
    """All tracks of an utterance, float32 ``[T, len(TRACK_COLUMNS)]``.

    Args:
        rng: source of the motion; equal states give equal motion.
        pcm_16k: the speech, at least ``T * 640`` samples.
        mouth: float32 ``[T, 5]`` mouth tracks, copied into the first columns.
    """
    frames = mouth.shape[0]
    tracks = np.zeros((frames, len(TRACK_COLUMNS)), dtype=np.float64)
    tracks[:, : mouth.shape[1]] = mouth
    for name, (deviation, limit) in _WANDER.items():
        tracks[:, TRACK_INDEX[name]] = wander(rng, frames, deviation, limit)
    energy = speech_energy(pcm_16k, frames)
    peaks = stresses(energy)
    strength = energy[peaks]
    nods = _bumps(frames, peaks, strength * rng.uniform(0.2, 1.0, len(peaks)), 2.2)
    tracks[:, TRACK_INDEX["head_y"]] += 0.018 * np.clip(nods, 0.0, 1.3)
    tracks[:, TRACK_INDEX["head_scale"]] += 1.0
    tracks[:, TRACK_INDEX["blink"]] = _blinks(rng, frames)
    lift = gaussian_filter1d(energy, 4.0, mode="nearest")
    brow = 0.75 * lift + 0.3 * wander(rng, frames, 0.6, 1.0)
    tracks[:, TRACK_INDEX["brow"]] = np.clip(brow, 0.0, 1.0)
    for side in ("l", "r"):
        chosen = rng.uniform(size=len(peaks)) < 0.55
        size = strength[chosen] * rng.uniform(0.4, 1.0, int(chosen.sum()))
        raised = np.clip(_bumps(frames, peaks[chosen], size, 3.2), 0.0, 1.2)
        sign = -1.0 if side == "l" else 1.0
        tracks[:, TRACK_INDEX[f"hand_{side}_y"]] -= 0.13 * raised
        tracks[:, TRACK_INDEX[f"hand_{side}_angle"]] += 0.3 * sign * raised
    tracks[:, TRACK_INDEX["energy"]] = energy
    return tracks.astype(np.float32)
