"""Training data of the small SyncNet: mouth crops and cepstra of a rendered split.

Legend: U utterances, T frames at 25 fps, S side in pixels, M steps at 100 Hz, C 13 cepstra.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track

from flashtalk.arrays import FloatArray, Frames
from training.data.synthtalk.cache import SynthTalk
from training.evaluate.canvas import MOUTH_CROP_PX, mouth_crops, to_canvas
from training.evaluate.probes import HEAD, Probes
from training.evaluate.syncnet.mfcc import FRAMES_PER_PICTURE, WINDOW_FRAMES, mfcc

_BATCH = 128


@dataclass(frozen=True)
class Mouths:
    """Crops uint8 [U, T, 3, 32, 32] and cepstra float32 [U, M, 13], M = 4 T + 16."""

    crops_UTCSS: npt.NDArray[np.uint8]
    cepstra_UMC: FloatArray


@torch.inference_mode()
def crop_mouths(
    video_THWC: Frames, probes: Probes, head_T4: FloatArray | None = None
) -> npt.NDArray[np.uint8]:
    """Returns upright mouth crops uint8 [T, 3, 32, 32], found by the pose probe, without the truth.

    ``head_T4`` is its measurement (``Measurement.stack(HEAD)``), if already available.
    """
    parts = []
    for start in range(0, len(video_THWC), _BATCH):
        canvas_TCSS = to_canvas(video_THWC[start : start + _BATCH])
        if head_T4 is None:
            pose_T4 = probes.pose(canvas_TCSS)[:, : len(HEAD)]
        else:
            pose_T4 = torch.from_numpy(head_T4[start : start + _BATCH])
        crops_TCSS = mouth_crops(canvas_TCSS, pose_T4)
        parts.append(((crops_TCSS + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy())
    return np.concatenate(parts)


def long_enough(cepstra_MC: FloatArray, frames: int) -> FloatArray:
    """Returns cepstra [4 T + 16, 13]: the last step repeats, so that every frame has a window."""
    needed = FRAMES_PER_PICTURE * (frames - 1) + WINDOW_FRAMES
    index_M = np.minimum(np.arange(needed), len(cepstra_MC) - 1)
    return cepstra_MC[index_M]


def gather(data: SynthTalk, probes: Probes, store: Path, count: int | None = None) -> Mouths:
    """Returns crops and cepstra of the first ``count`` utterances; cached in ``store`` for resumed
    runs."""
    amount = len(data) if count is None else min(count, len(data))
    frames = data.config.frames
    shape = (amount, frames, 3, MOUTH_CROP_PX, MOUTH_CROP_PX)
    store.mkdir(parents=True, exist_ok=True)
    name = f"crops-{data.config.split}-{amount}x{frames}.npy"
    speech = [_speech(data, index) for index in range(amount)]
    if not (store / name).exists():
        part = store / f"{name}.part"
        crops = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        for index in track(range(amount), f"mouths of {data.config.split}"):
            crops[index] = crop_mouths(data.clip(index, 0, frames).frames, probes)
        crops.flush()
        part.rename(store / name)
    return Mouths(np.load(store / name, mmap_mode="r"), np.stack(speech))


def _speech(data: SynthTalk, index: int) -> FloatArray:
    pcm_N = data.clip(index, 0, data.config.frames).pcm_16k
    return long_enough(mfcc(pcm_N), data.config.frames)
