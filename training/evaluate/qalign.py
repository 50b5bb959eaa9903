"""ASE and IQA: ratings of single frames by the Q-Align visual language model.

Wu et al., "Q-Align" (2023): the model rates a picture in words, and the score is the mean of
5 (excellent) to 1 (bad) under its probabilities of the five words.  The report's numbers are on
this scale.  The published weights (q-future/one-align, 8 billion numbers) include their own code,
with one method that is used here: ``score(pictures, task_=..., input_="image")``.

Legend: T frames, H W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from flashtalk.arrays import Frames
from flashtalk.errors import WeightsError
from flashtalk.streaming import FPS

AESTHETICS, QUALITY = "aesthetics", "quality"
MISSING = "ASE and IQA are not measured: no Q-Align weights were given (--qalign)"
_BATCH = 8


@dataclass(frozen=True)
class QAlign:
    """A loaded rater for one frame per second; frames are ``fps`` frames apart."""

    net: Any
    fps: int = FPS

    def rate(self, video_THWC: Frames) -> dict[str, float]:
        """``ase`` and ``iqa`` of one video uint8 [T, H, W, 3]: means over its frames, 1..5."""
        pictures = [Image.fromarray(frame) for frame in video_THWC[:: self.fps]]
        return {"ase": self._mean(pictures, AESTHETICS), "iqa": self._mean(pictures, QUALITY)}

    @torch.inference_mode()
    def _mean(self, pictures: Sequence[Image.Image], task: str) -> float:
        ratings: list[float] = []
        for start in range(0, len(pictures), _BATCH):
            batch = list(pictures[start : start + _BATCH])
            rated = self.net.score(batch, task_=task, input_="image")
            ratings += [float(value) for value in torch.as_tensor(rated).flatten()]
        return float(np.mean(ratings))


def open_qalign(folder: Path, *, device: str = "cpu", fps: int = FPS) -> QAlign:
    """Loads the rater from its folder.  This runs the Python code in the folder.

    Raises:
        WeightsError: the folder contains no model, or one without ratings.
    """
    if not (folder / "config.json").is_file():
        raise WeightsError(f"no Q-Align at {folder}: config.json is missing")
    from transformers import AutoModelForCausalLM

    dtype = torch.float32 if device == "cpu" else torch.float16
    try:
        net = AutoModelForCausalLM.from_pretrained(
            folder, trust_remote_code=True, local_files_only=True, dtype=dtype
        )
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        raise WeightsError(f"{folder}: {error}") from error
    if not callable(getattr(net, "score", None)):
        raise WeightsError(f"{folder}: {type(net).__name__} has no score(); not a Q-Align")
    placed: Any = net
    return QAlign(placed.to(torch.device(device)).eval(), fps)
