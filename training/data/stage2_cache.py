"""Speech features and true motion latents of the stretches that Stage 2 rolls out.

Legend: N stretches, K chunks, A audio frames (35: the chunk and two before it), L layers, D width,
C latent channels, M motion latents (2), h w latent size.

``speech`` [N, K, A, L, D] from the 8 s that end with each chunk, ``motion`` [N, K, C, M, h, w] of
each chunk's first five true frames, both float16; ``start`` int64 [N].
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashtalk.models.wav2vec2.loudness import prepare_pcm
from flashtalk.streaming.spec import StreamSpec
from training.core.progress import track
from training.data.clips import video_from_frames
from training.data.speech import window_ending_at
from training.data.stage1_cache import CONTEXT_FRAMES, Encoders
from training.data.stage2_sequences import SequencePlan, chunk_start, sequence_starts
from training.data.synthtalk import SynthTalk

FORMAT_VERSION = 1
_NAMES = ("speech", "motion", "start")


@dataclass(frozen=True)
class Stage2Cache:
    """A finished cache: memory-mapped arrays by name and the plan that made it."""

    arrays: dict[str, npt.NDArray[np.generic]]
    plan: SequencePlan

    def __len__(self) -> int:
        return len(self.arrays["start"])

    def tensor(self, name: str, rows: npt.NDArray[np.int64], chunks: slice = slice(None)) -> Tensor:
        """Chunks of rows of an array as float32."""
        picked = self.arrays[name][rows][:, chunks]
        return torch.from_numpy(picked.astype(np.float32))


@torch.no_grad()
def build_stage2_cache(
    source: SynthTalk, encoders: Encoders, plan: SequencePlan, cache_dir: Path, spec: StreamSpec
) -> Stage2Cache:
    """Encodes all stretches of a split that are not encoded yet; a killed build goes on later."""
    key = json.dumps([FORMAT_VERSION, asdict(source.config), asdict(plan), encoders.digest])
    name = hashlib.sha256(key.encode()).hexdigest()[:12]
    folder = cache_dir / f"stage2-{source.config.split}-{name}"
    size = plan.per_utterance
    if not (folder / "done.npy").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for array, values in _encode(source, encoders, plan, 0, spec).items():
            np.lib.format.open_memmap(
                folder / f"{array}.npy", mode="w+", dtype=values.dtype,
                shape=(len(source) * size, *values.shape[1:]),
            )  # fmt: skip
        # Comes last: its presence says that the other files are there.
        np.save(folder / "done.npy", np.zeros(len(source), dtype=bool))
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in _NAMES}
    done = np.load(folder / "done.npy", mmap_mode="r+")
    missing = np.flatnonzero(~np.asarray(done))
    title = f"encode stretches of {source.config.split}"
    for utterance in track(title, missing, len(missing)):
        rows = slice(int(utterance) * size, (int(utterance) + 1) * size)
        for array, values in _encode(source, encoders, plan, int(utterance), spec).items():
            arrays[array][rows] = values
        done[utterance] = True
    for mapped in (*arrays.values(), done):
        mapped.flush()
    return Stage2Cache({n: np.load(folder / f"{n}.npy", mmap_mode="r") for n in _NAMES}, plan)


def _encode(
    source: SynthTalk, encoders: Encoders, plan: SequencePlan, utterance: int, spec: StreamSpec
) -> dict[str, npt.NDArray[np.generic]]:
    """All stretches of one utterance."""
    whole = source.clip(utterance, 0, source.config.frames)
    starts = sequence_starts(plan, utterance, source.config.frames, spec)
    firsts = [
        chunk_start(int(start), chunk, spec) for start in starts for chunk in range(plan.chunks)
    ]
    windows = np.stack(
        [
            prepare_pcm(window_ending_at(whole.pcm_16k, first + spec.chunk_frames, spec))
            for first in firsts
        ]
    )
    features = encoders.speech(torch.from_numpy(windows), spec.window_s * spec.fps)
    speech = features[:, -(spec.chunk_frames + CONTEXT_FRAMES) :]
    held = np.maximum(np.asarray(firsts)[:, None] + np.arange(spec.motion_frames), 0)
    frames = torch.cat([video_from_frames(whole.frames[rows]) for rows in held])
    shape = (len(starts), plan.chunks)
    return {
        "speech": _half(speech.unflatten(0, shape)),
        "motion": _half(encoders.video(frames).unflatten(0, shape)),
        "start": starts,
    }


def _half(tensor: Tensor) -> npt.NDArray[np.float16]:
    values: npt.NDArray[np.float16] = tensor.detach().to("cpu", torch.float16).numpy()
    return values
