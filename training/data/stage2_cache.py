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

from flashtalk.streaming.spec import StreamSpec
from training.data.array_store import Array, Shape, fill_store, half
from training.data.clips import video_from_frames
from training.data.stage1_cache import Encoders, encode_speech, speech_windows
from training.data.stage2_sequences import SequencePlan, chunk_start, sequence_starts
from training.data.synthtalk import SynthTalk

FORMAT_VERSION = 1
STAGE2_NAMES = ("speech", "motion", "start")


@dataclass(frozen=True)
class Stage2Cache:
    """A finished cache: memory-mapped arrays by name and the plan that made it."""

    arrays: dict[str, Array]
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
    arrays = fill_store(
        cache_dir / f"stage2-{source.config.split}-{name}",
        Shape(STAGE2_NAMES, len(source), plan.per_utterance),
        lambda utterance: _encode(source, encoders, plan, utterance, spec),
        f"encode stretches of {source.config.split}",
    )
    return Stage2Cache(arrays, plan)


def _encode(
    source: SynthTalk, encoders: Encoders, plan: SequencePlan, utterance: int, spec: StreamSpec
) -> dict[str, Array]:
    """All stretches of one utterance."""
    whole = source.clip(utterance, 0, source.config.frames)
    starts = sequence_starts(plan, utterance, source.config.frames, spec)
    firsts = chunk_starts(plan, starts, spec)
    held = np.maximum(firsts[:, None] + np.arange(spec.motion_frames), 0)
    frames = torch.cat([video_from_frames(whole.frames[rows]) for rows in held])
    speech = encode_speech(encoders, speech_windows(whole.pcm_16k, firsts, spec), spec)
    return stretch_rows(plan, starts, speech, encoders.video(frames))


def chunk_starts(
    plan: SequencePlan, starts: npt.NDArray[np.int64], spec: StreamSpec
) -> npt.NDArray[np.int64]:
    """First frames of all chunks of the stretches that begin at ``starts``, one after another."""
    return np.asarray(
        [chunk_start(int(start), chunk, spec) for start in starts for chunk in range(plan.chunks)]
    )


def stretch_rows(
    plan: SequencePlan,
    starts: npt.NDArray[np.int64],
    speech_BALD: Tensor,
    motion_BCMHW: Tensor,
) -> dict[str, Array]:
    """Rows of the cache from what was encoded of all chunks in the order of ``chunk_starts``."""
    shape = (len(starts), plan.chunks)
    return {
        "speech": half(speech_BALD.unflatten(0, shape)),
        "motion": half(motion_BCMHW.unflatten(0, shape)),
        "start": starts,
    }
