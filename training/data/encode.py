"""Encodes one shot with the frozen models: its clips, their portraits, or its stretches.

As many chunks are encoded at once as fit: all small frames of a shot together, large ones one by
one.

Legend: B chunks, C latent channels, F latent frames, M image tokens or motion latents, h w latent
size, D width, K chunks of a stretch, A audio frames (35: the chunk and two before it), L layers,
H W pixels, N rows of a shot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flashtalk.arrays import AnyArray
from flashtalk.diffusion.condition import reference_clip
from flashtalk.models.wav2vec2.loudness import prepare_pcm
from flashtalk.streaming.spec import StreamSpec
from training.data.array_store import half
from training.data.buckets import SizeHW
from training.data.clips import video_from_frames
from training.data.source.video import VideoSource
from training.data.speech import window_ending_at
from training.data.units import (
    ClipPlan,
    Shot,
    StretchPlan,
    chunk_starts,
    clip_starts,
    held_frames,
    stretch_starts,
)

CLIP_ARRAYS = ("latents", "reference", "tokens", "speech", "start", "silent")
PORTRAIT_ARRAYS = ("reference", "tokens", "start")
STRETCH_ARRAYS = ("speech", "motion", "start")

_MOST_PIXELS = 4_000_000
"""Limit of the pixels that are encoded at once: 13 clips of 96x96, one of 720x416."""


@dataclass(frozen=True)
class Encoders:
    """The frozen models as functions, and a digest of their weights.

    Args:
        video: [B, 3, T, H, W] in [-1, 1] -> normalised latents [B, C, F, h, w].
        image: [B, 3, H, W] in [-1, 1] -> tokens [B, M, D].
        speech: normalised windows [B, 128000], frames -> [B, frames, L, D].
        digest: changes with any of the weights.
    """

    video: Callable[[Tensor], Tensor]
    image: Callable[[Tensor], Tensor]
    speech: Callable[[Tensor, int], Tensor]
    digest: str


@dataclass(frozen=True)
class ShotEncoder:
    """Encodes rows of a shot by array name; all but ``start`` and ``silent`` are float16.

    Args:
        source: of the shots.
        encoders: the frozen models.
        spec: spec of the stream.
        size_hw: of the frames.
    """

    source: VideoSource
    encoders: Encoders
    spec: StreamSpec
    size_hw: SizeHW

    def clips(self, plan: ClipPlan, number: int, shot: Shot) -> dict[str, AnyArray]:
        """All clips of a shot.

        ``latents`` [N, C, F, h, w]; ``reference`` [N, C, F, h, w] of each clip's first frame
        followed by frames that are zero after normalisation; ``tokens`` [N, M, D] of that frame;
        ``speech`` [N, A, L, D] from the 8 s that end with the clip; ``start`` int64 [N]; ``silent``
        float32 [N], share of its frames without speech.
        """
        starts = clip_starts(plan, number, shot.frames, self.spec)
        rows = []
        for some in self._together(starts.tolist(), self.spec.chunk_frames):
            frames_BCTHW = self._frames(shot, some, self.spec.chunk_frames)
            rows.append(
                {
                    "latents": half(self.encoders.video(frames_BCTHW)),
                    **self._portraits(frames_BCTHW[:, :, 0]),
                    "speech": half(self._speech(shot, some)),
                }
            )
        silent = [self._silent(shot, start) for start in starts.tolist()]
        return {**_joined(rows), "start": starts, "silent": np.asarray(silent, dtype=np.float32)}

    def portraits(self, plan: ClipPlan, number: int, shot: Shot) -> dict[str, AnyArray]:
        """``reference``, ``tokens`` and ``start`` of ``clips``, and none of the work for the rest.

        Clips with the same first frame share them.
        """
        starts = clip_starts(plan, number, shot.frames, self.spec)
        firsts = starts.clip(min=0).tolist()
        shown = sorted(set(firsts))
        rows = _joined(
            [
                self._portraits(self._frames(shot, some, 1)[:, :, 0])
                for some in self._together(shown, self.spec.chunk_frames)
            ]
        )
        places = [shown.index(first) for first in firsts]
        return {**{name: values[places] for name, values in rows.items()}, "start": starts}

    def stretches(self, plan: StretchPlan, number: int, shot: Shot) -> dict[str, AnyArray]:
        """All stretches of a shot.

        ``speech`` [N, K, A, L, D] from the 8 s that end with each chunk; ``motion``
        [N, K, C, M, h, w] of each chunk's first five true frames; ``start`` int64 [N].
        """
        spec = self.spec
        starts = stretch_starts(plan, number, shot.frames, spec)
        speech, motion = [], []
        for some in self._together(chunk_starts(plan, starts, spec).tolist(), spec.motion_frames):
            speech.append(self._speech(shot, some))
            motion.append(self.encoders.video(self._frames(shot, some, spec.motion_frames)))
        shape = (len(starts), plan.chunks)
        return {
            "speech": half(torch.cat(speech).unflatten(0, shape)),
            "motion": half(torch.cat(motion).unflatten(0, shape)),
            "start": starts,
        }

    def _together(self, starts: Sequence[int], frames: int) -> Iterator[Sequence[int]]:
        each = frames * self.size_hw[0] * self.size_hw[1]
        count = max(1, _MOST_PIXELS // each)
        for first in range(0, len(starts), count):
            yield starts[first : first + count]

    def _frames(self, shot: Shot, starts: Sequence[int], count: int) -> Tensor:
        """Returns ``count`` frames from each start, [B, 3, count, H, W]."""
        shown = (held_frames(self.source, shot, s, count, self.size_hw) for s in starts)
        return torch.cat([video_from_frames(frames) for frames in shown])

    def _portraits(self, images_BCHW: Tensor) -> dict[str, AnyArray]:
        clip = reference_clip(images_BCHW, self.spec.chunk_frames)
        return {
            "reference": half(self.encoders.video(clip)),
            "tokens": half(self.encoders.image(images_BCHW)),
        }

    def _speech(self, shot: Shot, starts: Sequence[int]) -> Tensor:
        """Returns features of the frames of the chunks at ``starts``, and of the previous frames in
        the windows of their first frames, [B, A, L, D]."""
        spec, windows = self.spec, []
        for start in starts:
            first, end = self._heard(start)
            pcm = self.source.pcm(shot.video, shot.first + first, end - first)
            windows.append(prepare_pcm(window_ending_at(pcm, end - first, spec)))
        heard_BS = torch.from_numpy(np.stack(windows))
        features = self.encoders.speech(heard_BS, spec.window_s * spec.fps)
        return features[:, -spec.feature_rows :]

    def _silent(self, shot: Shot, start: int) -> float:
        """Returns the share of a clip's frames without speech; there is none before a shot."""
        first, end = self._heard(start)
        quiet_T = self.source.quiet(shot.video, shot.first + first, end - first)
        before = max(0, -start)
        return float(quiet_T[max(start, 0) - first :].sum() + before) / self.spec.chunk_frames

    def _heard(self, start: int) -> tuple[int, int]:
        """Returns the frames of a chunk's window: of the shot, up to its end, at most 8 s."""
        end = start + self.spec.chunk_frames
        return max(0, end - self.spec.window_s * self.spec.fps), end


def _joined(parts: Sequence[dict[str, AnyArray]]) -> dict[str, AnyArray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
