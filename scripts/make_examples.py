"""Write examples/portrait.png and examples/speech.wav, the inputs of ``make demo``.

Both are this project's own: a rendered person and a synthetic voice, from the part of SynthTalk
that no training sees (test split), saying a text that is in no split.

Usage: python scripts/make_examples.py [FOLDER]
"""

import sys
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from flashtalk.streaming import PCM_HZ
from training.data.synthtalk import SynthTalkConfig, make_utterance
from training.data.synthtalk.speech import Voice, synthesise

EXAMPLES = Path(__file__).parents[1] / "examples"
PORTRAIT_PX = 512
PERSON = SynthTalkConfig(split="test", count=12, seconds=1.0, seed=7, long_silences=False)
VOICE = Voice("en-us+f5", rate_wpm=160, pitch=58)
TEXT = (
    "Hello, and welcome! A moment ago I was only a picture. Now I can talk to you, and my mouth "
    "follows every word of this voice. Speak as long as you like: I will keep going."
)
PAUSE_S = 0.3
PEAK = 0.7


def portrait() -> npt.NDArray[np.uint8]:
    """The example person with closed lips, uint8 ``[512, 512, 3]``."""
    # Every utterance starts with a short silence: its first frame is a person at rest.
    person = make_utterance(PERSON, PERSON.count - 1)
    frame: npt.NDArray[np.uint8] = person.render(0, 1, (PORTRAIT_PX, PORTRAIT_PX))[0]
    return frame


def speech() -> npt.NDArray[np.int16]:
    """The example text spoken, 16 kHz mono, with a pause at both ends."""
    pcm = synthesise(TEXT, VOICE).pcm_16k
    pause = np.zeros(round(PAUSE_S * PCM_HZ), dtype=np.float32)
    loud = pcm * (PEAK / float(np.abs(pcm).max()))
    return np.round(np.concatenate([pause, loud, pause]) * 32767).astype(np.int16)


def write(folder: Path) -> None:
    """Both files, in a folder that is made if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(portrait()).save(folder / "portrait.png", optimize=True)
    with wave.open(str(folder / "speech.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(PCM_HZ)
        file.writeframes(speech().astype("<i2").tobytes())


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else EXAMPLES)
