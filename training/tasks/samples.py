"""Videos sampled during training, by the engine's chunk loop.

Legend: T frames, H W pixels, N text tokens, D width, S samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flashtalk.arrays import FloatArray, Frames, Rgb
from flashtalk.diffusion.schedule import DEFAULT_SHIFT
from flashtalk.engine import EncodedPrompt, Sampling, session_of, talk_on
from flashtalk.engine.codec import pixels
from flashtalk.models.dit.model import DiT
from flashtalk.streaming import Pcm, StreamSpec
from training.core.board import Board
from training.data.clips import video_from_frames
from training.data.synthtalk import SynthTalk
from training.evaluate.dynamics import dynamic_ratio
from training.evaluate.held_out import load_clip
from training.evaluate.probes import HANDS, HEAD, Measurement, Probes
from training.evaluate.quick import quick_lip_corr, quick_patched
from training.evaluate.reference_clip import ReferenceClip
from training.models import FrozenModels
from training.tasks.pictures import strip

_PARTS = {"mouth": ("openness",), "head": HEAD, "hands": HANDS}


@dataclass(frozen=True)
class SampleConfig:
    """Settings of sampled videos for the board and quick lip metrics.

    Args:
        videos: number of held-out videos, the first ones.
        chunks: of 28 frames each.
        steps, shift: of the sampler. Stage 2 uses the student's own.
        guidance: audio guidance of the second sample; the first has none. 1 makes no second.
        lips: measure mouth opening, movement and patches; needs the trained probes.
    """

    videos: int = 2
    chunks: int = 3
    steps: int = 4
    shift: float = DEFAULT_SHIFT
    guidance: float = 3.0
    lips: bool = False
    seed: int = 0

    def like(self, sampling: Sampling) -> SampleConfig:
        """Returns the same settings with these noise levels."""
        return dataclasses.replace(self, steps=sampling.steps, shift=sampling.shift)

    def sampling(self, size_hw: tuple[int, int]) -> Sampling:
        """Returns the guided setting, for the finished weights."""
        return Sampling(
            steps=self.steps,
            shift=self.shift,
            audio_guidance=self.guidance,
            height_px=size_hw[0],
            width_px=size_hw[1],
        )

    def uncorrected(self, size_hw: tuple[int, int], guidance: float) -> Sampling:
        """Returns a setting for metrics, without colour correction, which would hide drift."""
        plain = self.sampling(size_hw)
        return dataclasses.replace(plain, audio_guidance=guidance, color_strength=0.0)


def sample_report(
    config: SampleConfig,
    dit: DiT,
    frozen: FrozenModels,
    source: SynthTalk,
    spec: StreamSpec,
    text_of: Callable[[int], Tensor],
    board: Board,
) -> dict[str, float]:
    """Samples videos, writes them under the true ones on the board, measures their lips."""
    rows: list[Tensor] = []
    report: dict[str, float] = {}
    frames = config.chunks * spec.new_frames
    probes = Probes.load() if config.lips else None
    kinds = {"free": 1.0} | ({"guided": config.guidance} if config.guidance != 1.0 else {})
    made: dict[str, list[Frames]] = {kind: [] for kind in kinds}
    truths: list[Measurement] = []
    clips: list[ReferenceClip] = []
    tracks = []
    for video in range(min(config.videos, len(source))):
        whole = source.clip(video, 0, min(frames, source.config.frames))
        if probes is not None:
            truths.append(probes.measure(whole.frames))
            clips.append(load_clip(source, video, len(whole.tracks) / spec.fps))
        tracks.append(whole.tracks)
        rows.append(_row(whole.frames))
        for kind, guidance in kinds.items():
            video_THWC = sampled_frames(
                dit,
                frozen,
                whole.frames[0],
                whole.pcm_16k,
                text_of(video),
                spec,
                config.uncorrected(whole.frames.shape[1:3], guidance),
                config.seed,
            )[: len(whole.tracks)]
            made[kind].append(video_THWC)
            rows.append(_row(video_THWC))
    board.picture("samples", strip(rows))
    for kind, videos in made.items():
        joined_THWC = np.concatenate(videos)
        # A frozen face has no deviation.
        report[f"{kind}_motion"] = float(np.abs(np.diff(joined_THWC.astype(int), axis=0)).mean())
        if probes is not None:
            report[f"{kind}_lip_corr"] = quick_lip_corr(joined_THWC, np.concatenate(tracks), probes)
            seen = [probes.measure(video_THWC) for video_THWC in videos]
            for part, names in _PARTS.items():
                report[f"{kind}_{part}_dyn"] = dynamic_ratio(
                    [one.stack(names) for one in seen], [one.stack(names) for one in truths]
                )
            report[f"{kind}_patched"] = float(
                np.mean(
                    [
                        quick_patched(video_THWC, clip, read)
                        for video_THWC, clip, read in zip(videos, clips, seen, strict=True)
                    ]
                )
            )
            if config.chunks > 1:
                report[f"{kind}_drift"] = _drift([one.identity_TD for one in seen], spec)
    return report


def _drift(identities_TD: list[FloatArray], spec: StreamSpec) -> float:
    """Returns the distance of the last chunk's person from the first chunk's, mean over videos.

    In standard deviations of the population; the distance of two strangers is 1.4.
    """
    n, grown = spec.new_frames, []
    for identity_TD in identities_TD:
        first_D, last_D = identity_TD[:n].mean(0), identity_TD[-n:].mean(0)
        grown.append(float(np.sqrt(np.mean((last_D - first_D) ** 2))))
    return float(np.mean(grown))


def _row(video_THWC: Frames) -> Tensor:
    """Returns a few frames for ``strip``, [3, T, H, W] in [-1, 1]."""
    return video_from_frames(np.ascontiguousarray(video_THWC[::7]))[0]


@torch.no_grad()
def sampled_frames(
    dit: DiT,
    frozen: FrozenModels,
    portrait_HWC: Rgb,
    pcm_S: Pcm,
    text_1ND: Tensor,
    spec: StreamSpec,
    sampling: Sampling,
    seed: int,
) -> Frames:
    """Streams a network in training through the engine's own chunk loop.

    Args:
        dit: as in training; its blocks may be sharded, so the call is collective.
        frozen: the other models.
        portrait_HWC: uint8 [H, W, 3].
        pcm_S: float32 samples.
        text_1ND: [1, N, D] text tokens.
        spec: spec of the stream.
        sampling: steps and guidance.
        seed: of the noise.

    Returns:
        uint8 [T, H, W, 3], enough frames for the speech.
    """
    stages = frozen.stages(dit, spec)
    reference = stages.codec.encode_reference(portrait_HWC)
    conditioning = stages.denoiser.conditioned(
        EncodedPrompt(frozen.image(pixels(portrait_HWC, frozen.device)), text_1ND),
        reference.z_BCFHW,
        reference.digest,
        projected=False,
    )
    session = session_of(spec, conditioning, reference, seed=seed, sampling=sampling)
    return np.concatenate([chunk.frames_THWC for chunk in talk_on(stages, session, [pcm_S])])
