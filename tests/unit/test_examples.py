"""The example files are what scripts/make_examples.py makes, and what `make demo` needs."""

import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.make_examples import PEAK, portrait

PCM_HZ = 16_000


def test_the_portrait_is_the_rendered_person(repo_root: Path) -> None:
    """A renderer that changed its look asks for new examples: `make examples`."""
    with Image.open(repo_root / "examples" / "portrait.png") as image:
        shipped = np.asarray(image.convert("RGB"), dtype=np.float32)
    rendered = portrait().astype(np.float32)
    assert shipped.shape == rendered.shape
    assert float(np.abs(shipped - rendered).mean()) < 1.0


def test_the_speech_is_audible_16_khz_mono_of_about_ten_seconds(repo_root: Path) -> None:
    with wave.open(str(repo_root / "examples" / "speech.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (PCM_HZ, 1, 2)
        pcm = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32768
    assert 8.0 <= len(pcm) / PCM_HZ <= 13.0
    assert np.abs(pcm).max() == pytest.approx(PEAK, abs=0.01)
    assert np.sqrt((pcm**2).mean()) > 0.03
    assert np.abs(pcm[: PCM_HZ // 5]).max() == 0.0
