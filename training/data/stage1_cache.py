"""Everything frozen models say about Stage 1 clips, computed once: a step is only the DiT then.

Legend: N clips, C latent channels, F latent frames, h w latent size, M image tokens, D width,
A audio frames (35: the clip and two before it), L layers, U utterances.

``latents`` [N, C, F, h, w] of the clips; ``reference`` [N, C, F, h, w] of each clip's first frame
followed by frames that are zero after normalisation; ``tokens`` [N, M, D] of that frame; ``speech``
[N, A, L, D] from the 8 s window that ends at the clip's end; all float16. ``start`` int64 [N],
``silent`` float32 [N] (share of frames without speech).
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashtalk.diffusion.condition import reference_clip
from flashtalk.models.wav2vec2.loudness import prepare_pcm
from flashtalk.streaming.spec import StreamSpec
from training.data.array_store import Array, Shape, fill_store, half
from training.data.clips import video_from_frames
from training.data.speech import Pcm, window_ending_at
from training.data.stage1_clips import ClipPlan, clip_frame_rows, clip_starts
from training.data.synthtalk import SynthTalk
from training.data.synthtalk.phonemes import SILENCE

FORMAT_VERSION = 1
STAGE1_NAMES = ("latents", "reference", "tokens", "speech", "start", "silent")


@dataclass(frozen=True)
class Encoders:
    """The frozen models as functions, and what identifies their weights.

    Args:
        video: [B, 3, T, H, W] in [-1, 1] -> normalised latents [B, C, F, h, w].
        image: [B, 3, H, W] in [-1, 1] -> tokens [B, M, D].
        speech: normalised windows [B, 128000], frames -> [B, frames, L, D].
        digest: changes whenever any of the weights do.
    """

    video: Callable[[Tensor], Tensor]
    image: Callable[[Tensor], Tensor]
    speech: Callable[[Tensor, int], Tensor]
    digest: str


@dataclass(frozen=True)
class Stage1Cache:
    """A finished cache: memory-mapped arrays by name and the plan that made it."""

    arrays: dict[str, Array]
    plan: ClipPlan

    def __len__(self) -> int:
        return len(self.arrays["start"])

    def utterance_of(self, clip: int) -> int:
        """The utterance a clip belongs to."""
        return clip // self.plan.per_utterance

    def starts_of(self, utterance: int) -> npt.NDArray[np.int64]:
        """First frames of the clips of an utterance."""
        size = self.plan.per_utterance
        return self.arrays["start"][utterance * size : (utterance + 1) * size].astype(np.int64)

    def tensor(self, name: str, rows: Sequence[int] | npt.NDArray[np.int64]) -> Tensor:
        """Rows of an array as float32."""
        return torch.from_numpy(self.arrays[name][np.asarray(rows)].astype(np.float32))


def files_digest(paths: Sequence[Path]) -> str:
    """A digest of the contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def stage1_folder(source: SynthTalk, encoders: Encoders, plan: ClipPlan, cache_dir: Path) -> Path:
    """Where the cache of a split lies; its name says all that decides the values."""
    # The length too: unlike the digest of the data it is known to change what the rows mean.
    key = json.dumps([FORMAT_VERSION, asdict(source.config), asdict(plan), encoders.digest])
    name = hashlib.sha256(key.encode()).hexdigest()[:12]
    return cache_dir / f"stage1-{source.config.split}-{name}"


@torch.no_grad()
def build_stage1_cache(
    source: SynthTalk, encoders: Encoders, plan: ClipPlan, cache_dir: Path, spec: StreamSpec
) -> Stage1Cache:
    """Encodes all clips of a split that are not encoded yet; a killed build goes on later."""
    arrays = fill_store(
        stage1_folder(source, encoders, plan, cache_dir),
        Shape(STAGE1_NAMES, len(source), plan.per_utterance),
        lambda utterance: _encode(source, encoders, plan, utterance, spec),
        f"encode {source.config.split}",
    )
    return Stage1Cache(arrays, plan)


def _encode(
    source: SynthTalk, encoders: Encoders, plan: ClipPlan, utterance: int, spec: StreamSpec
) -> dict[str, Array]:
    """All clips of one utterance."""
    whole = source.clip(utterance, 0, source.config.frames)
    starts = clip_starts(plan, utterance, source.config.frames, spec)
    clips = torch.cat(
        [video_from_frames(whole.frames[clip_frame_rows(int(s), spec)]) for s in starts]
    )
    silent = [
        float((whole.phoneme_ids[clip_frame_rows(int(start), spec)] == SILENCE).mean())
        for start in starts
    ]
    return {
        **encode_clips(encoders, clips, speech_windows(whole.pcm_16k, starts, spec), spec),
        "start": starts,
        "silent": np.asarray(silent, dtype=np.float32),
    }


def speech_windows(pcm_S: Pcm, starts: npt.NDArray[np.int64], spec: StreamSpec) -> Tensor:
    """What is heard with the chunks that begin at ``starts``: normalised windows [B, 128000]."""
    ends = [int(start) + spec.chunk_frames for start in starts]
    windows = np.stack([prepare_pcm(window_ending_at(pcm_S, end, spec)) for end in ends])
    return torch.from_numpy(windows)


def encode_clips(
    encoders: Encoders, clips_BCTHW: Tensor, windows_BS: Tensor, spec: StreamSpec
) -> dict[str, Array]:
    """Everything that frozen models say of clips [B, 3, 33, H, W] and their speech windows."""
    reference = reference_clip(clips_BCTHW[:, :, 0], spec.chunk_frames)
    return {
        "latents": half(encoders.video(clips_BCTHW)),
        "reference": half(encoders.video(reference)),
        "tokens": half(encoders.image(clips_BCTHW[:, :, 0])),
        "speech": half(encode_speech(encoders, windows_BS, spec)),
    }


def encode_speech(encoders: Encoders, windows_BS: Tensor, spec: StreamSpec) -> Tensor:
    """Features of the last 35 frames of speech windows, [B, A, L, D]."""
    speech = encoders.speech(windows_BS, spec.window_s * spec.fps)
    return speech[:, -spec.feature_rows :]
