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
from training.core.progress import track
from training.data.clips import video_from_frames
from training.data.speech import window_ending_at
from training.data.stage1_clips import ClipPlan, clip_frame_rows, clip_starts
from training.data.synthtalk import SynthTalk
from training.data.synthtalk.phonemes import SILENCE

FORMAT_VERSION = 1
CONTEXT_FRAMES = 2


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

    arrays: dict[str, npt.NDArray[np.generic]]
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


@torch.no_grad()
def build_stage1_cache(
    source: SynthTalk, encoders: Encoders, plan: ClipPlan, cache_dir: Path, spec: StreamSpec
) -> Stage1Cache:
    """Encodes all clips of a split that are not encoded yet; a killed build goes on later."""
    # The length too: unlike the digest of the data it is known to change what the rows mean.
    key = json.dumps([FORMAT_VERSION, asdict(source.config), asdict(plan), encoders.digest])
    name = hashlib.sha256(key.encode()).hexdigest()[:12]
    folder = cache_dir / f"stage1-{source.config.split}-{name}"
    count, size = len(source), plan.per_utterance
    if not (folder / "done.npy").exists():
        _create(folder, count * size, count, _encode(source, encoders, plan, 0, spec))
    names = ("latents", "reference", "tokens", "speech", "start", "silent")
    arrays = {key: np.load(folder / f"{key}.npy", mmap_mode="r+") for key in names}
    done = np.load(folder / "done.npy", mmap_mode="r+")
    missing = np.flatnonzero(~np.asarray(done))
    for utterance in track(f"encode {source.config.split}", missing, len(missing)):
        rows = slice(int(utterance) * size, (int(utterance) + 1) * size)
        for key, values in _encode(source, encoders, plan, int(utterance), spec).items():
            arrays[key][rows] = values
        done[utterance] = True
    for array in (*arrays.values(), done):
        array.flush()
    return Stage1Cache({key: np.load(folder / f"{key}.npy", mmap_mode="r") for key in names}, plan)


def _create(
    folder: Path, clips: int, utterances: int, sample: dict[str, npt.NDArray[np.generic]]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for key, values in sample.items():
        np.lib.format.open_memmap(
            folder / f"{key}.npy", mode="w+", dtype=values.dtype, shape=(clips, *values.shape[1:])
        )
    # Comes last: its presence says that the other files are there.
    np.save(folder / "done.npy", np.zeros(utterances, dtype=bool))


def _encode(
    source: SynthTalk, encoders: Encoders, plan: ClipPlan, utterance: int, spec: StreamSpec
) -> dict[str, npt.NDArray[np.generic]]:
    """All clips of one utterance."""
    whole = source.clip(utterance, 0, source.config.frames)
    starts = clip_starts(plan, utterance, source.config.frames, spec)
    clips = torch.cat(
        [video_from_frames(whole.frames[clip_frame_rows(int(s), spec)]) for s in starts]
    )
    reference = reference_clip(clips[:, :, 0], spec.chunk_frames)
    ends = [int(start) + spec.chunk_frames for start in starts]
    windows = np.stack([prepare_pcm(window_ending_at(whole.pcm_16k, end, spec)) for end in ends])
    speech = encoders.speech(torch.from_numpy(windows), spec.window_s * spec.fps)
    silent = [
        float((whole.phoneme_ids[clip_frame_rows(int(start), spec)] == SILENCE).mean())
        for start in starts
    ]
    return {
        "latents": _half(encoders.video(clips)),
        "reference": _half(encoders.video(reference)),
        "tokens": _half(encoders.image(clips[:, :, 0])),
        "speech": _half(speech[:, -(spec.chunk_frames + CONTEXT_FRAMES) :]),
        "start": starts,
        "silent": np.asarray(silent, dtype=np.float32),
    }


def _half(tensor: Tensor) -> npt.NDArray[np.float16]:
    values: npt.NDArray[np.float16] = tensor.detach().to("cpu", torch.float16).numpy()
    return values
