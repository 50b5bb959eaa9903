"""The cepstra are those that the published SyncNet was trained on."""

import math
from itertools import pairwise

import numpy as np
import pytest

from flashtalk.errors import InputError
from training.evaluate.syncnet.mfcc import mfcc, windows


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * 16_000)) / 16_000
    tone = np.sin(2 * np.pi * 220 * time_s) * np.abs(np.sin(2 * np.pi * 2 * time_s))
    return np.asarray(0.2 * tone + 0.02 * rng.standard_normal(len(time_s)), np.float32)


def plain(pcm: np.ndarray, frame: int) -> list[float]:
    """One frame of the reference's definition, written with loops and without any array trick."""
    samples = [float(round(float(x) * 32768)) for x in pcm]
    emphasised = [samples[0]] + [b - 0.97 * a for a, b in pairwise(samples)]
    piece = (emphasised + [0.0] * 800)[160 * frame : 160 * frame + 400]
    power = [abs(value) ** 2 / 512 for value in np.fft.rfft(piece, 512)]
    mels = [2595 * math.log10(1 + 8000 / 700) * k / 27 for k in range(28)]
    corner = [math.floor(513 * 700 * (10 ** (mel / 2595) - 1) / 16_000) for mel in mels]
    logs = []
    for j in range(26):
        low, middle, high = corner[j : j + 3]
        rising = sum(power[i] * (i - low) / (middle - low) for i in range(low, middle))
        falling = sum(power[i] * (high - i) / (high - middle) for i in range(middle, high))
        logs.append(math.log(rising + falling))
    cepstra = []
    for k in range(13):
        total = sum(v * math.cos(math.pi * k * (2 * n + 1) / 52) for n, v in enumerate(logs))
        scale = math.sqrt((1 if k == 0 else 2) / 26)
        cepstra.append(scale * total * (1 + 11 * math.sin(math.pi * k / 22)))
    return [math.log(sum(power)), *cepstra[1:]]


@pytest.mark.parametrize("frame", [0, 7, 48])
def test_every_step_follows_the_definition(frame: int) -> None:
    pcm = speech(0.5)
    np.testing.assert_allclose(mfcc(pcm)[frame], plain(pcm, frame), rtol=1e-4, atol=1e-3)


def test_a_louder_voice_changes_the_energy_alone() -> None:
    quiet, loud = mfcc(speech(0.5)), mfcc(2 * speech(0.5))
    np.testing.assert_allclose(loud[:, 0] - quiet[:, 0], 2 * math.log(2), atol=0.01)
    np.testing.assert_allclose(loud[:, 1:], quiet[:, 1:], atol=0.1)


def test_digital_silence_is_finite() -> None:
    assert np.isfinite(mfcc(np.zeros(1600, np.float32))).all()


def test_there_are_a_hundred_steps_a_second() -> None:
    assert mfcc(speech(2.0)).shape == (199, 13)
    with pytest.raises(InputError, match="pcm"):
        mfcc(np.zeros((2, 10), np.float32))


def test_windows_start_with_their_pictures() -> None:
    cepstra = mfcc(speech(1.0))
    cut = windows(cepstra, 20)
    assert cut.shape == (20, 13, 20)
    np.testing.assert_array_equal(cut[7], cepstra[28:48].T)
    with pytest.raises(InputError, match="speech"):
        windows(cepstra, 22)
