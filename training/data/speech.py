"""Speech windows as in the stream: 8 s that end at a frame, silence before the start.

Legend: S samples at 16 kHz, T frames at 25 fps.
"""

from dataclasses import dataclass

import numpy as np

from flashtalk.arrays import AnyArray, Pcm
from flashtalk.streaming.spec import StreamSpec


def window_ending_at(pcm_S: Pcm, end_frame: int, spec: StreamSpec) -> Pcm:
    """Returns the 8 s before the end of frame ``end_frame - 1``, float32 [128000], zero-padded."""
    stop = min(end_frame * spec.samples_per_frame, len(pcm_S))
    start = max(0, stop - spec.window_samples)
    window = np.zeros(spec.window_samples, dtype=np.float32)
    window[spec.window_samples - (stop - start) :] = pcm_S[start:stop]
    return window


def labels_ending_at(values_T: AnyArray, end_frame: int, frames: int, fill: AnyArray) -> AnyArray:
    """Returns the last ``frames`` values before ``end_frame``, padded with ``fill``."""
    kept = values_T[max(0, end_frame - frames) : end_frame]
    missing = frames - len(kept)
    return np.concatenate([np.repeat(fill[None], missing, axis=0), kept])


@dataclass(frozen=True)
class Augment:
    """Augmentation of a clean window in training; probabilities and ranges.

    ``cut`` silences everything before a random time, as in a stream that has just begun.
    ``silence`` replaces the window by faint noise, which the normalisation amplifies: the model
    must recognise that there is no speech.
    """

    noise: float = 0.6
    noise_snr_db: tuple[float, ...] = (8.0, 40.0)
    cut: float = 0.35
    cut_longest_s: float = 7.5
    silence: float = 0.04
    tilt: float = 0.4


def augmented(
    window_S: Pcm, rng: np.random.Generator, augment: Augment, hz: int
) -> tuple[Pcm, bool]:
    """Returns an augmented copy of a window, and whether its speech was replaced by noise."""
    changed = window_S.copy()
    heard = np.flatnonzero(changed)
    first = int(heard[0]) if len(heard) else 0
    level = float(np.sqrt(np.mean(changed[first:].astype(np.float64) ** 2)))
    if rng.random() < augment.silence:
        noise = rng.standard_normal(len(changed) - first).astype(np.float32)
        changed[first:] = _tilted(noise, rng) * 10.0 ** rng.uniform(-4.5, -2.0)
        return changed, True
    if rng.random() < augment.tilt:
        changed[first:] = _tilted(changed[first:], rng)
    if rng.random() < augment.noise:
        snr_db = rng.uniform(augment.noise_snr_db[0], augment.noise_snr_db[1])
        noise = rng.standard_normal(len(changed) - first).astype(np.float32)
        noise = _tilted(noise, rng)
        noise *= level * 10.0 ** (-snr_db / 20.0) / max(float(noise.std()), 1e-9)
        changed[first:] += noise
    if rng.random() < augment.cut:
        changed[: int(rng.uniform(0.0, augment.cut_longest_s) * hz)] = 0.0
    return changed, False


def _tilted(signal_S: Pcm, rng: np.random.Generator) -> Pcm:
    """Applies a first-order high or low shelf: microphones and rooms differ."""
    amount = float(rng.uniform(-0.6, 0.6))
    tilted = signal_S.copy()
    tilted[1:] += np.float32(amount) * signal_S[:-1]
    return tilted
