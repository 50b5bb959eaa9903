"""Videos sampled during Stage 1, chunk after chunk as in the stream, without its network.

Legend: B videos, C latent channels, F latent frames, h w latent size, T frames, H W pixels,
M image tokens, N text tokens, D width, L layers, S samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashtalk.diffusion.condition import reference_clip, reference_condition
from flashtalk.diffusion.guidance import two_pass
from flashtalk.diffusion.noise import chunk_noise
from flashtalk.diffusion.sample import VelocityFn, sample, timestep
from flashtalk.diffusion.schedule import DEFAULT_SHIFT, sigmas
from flashtalk.diffusion.state import SessionState
from flashtalk.engine.sampling import Sampling
from flashtalk.models.dit.conditions import ContextTokens
from flashtalk.models.dit.model import DiT
from flashtalk.models.wav2vec2.loudness import prepare_pcm
from flashtalk.streaming.spec import StreamSpec
from flashtalk.streaming.windows import chunk_window_indices
from training.core.board import Board
from training.data.clips import video_from_frames
from training.data.speech import Pcm, window_ending_at
from training.data.synthtalk import SynthTalk
from training.evaluate.clip import Clip
from training.evaluate.dynamics import dynamic_ratio
from training.evaluate.held_out import load_clip
from training.evaluate.probes import HANDS, HEAD, Measurement, Probes
from training.evaluate.quick import quick_lip_corr, quick_patched
from training.models import FrozenModels
from training.tasks.pictures import strip

_PARTS = {"mouth": ("openness",), "head": HEAD, "hands": HANDS}


@dataclass(frozen=True)
class SampleConfig:
    """How videos are sampled for the eye and for a quick measure of the lips.

    Args:
        videos: the first so many held-out utterances.
        chunks: of 28 frames each.
        steps, shift: of the sampler. Stage 2 takes those that the student is made for.
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
        """The same videos at these noise levels."""
        return dataclasses.replace(self, steps=sampling.steps, shift=sampling.shift)

    def sampling(self, size_hw: tuple[int, int]) -> Sampling:
        """The guided setting, for the finished weights."""
        return Sampling(
            steps=self.steps,
            shift=self.shift,
            audio_guidance=self.guidance,
            height_px=size_hw[0],
            width_px=size_hw[1],
        )


def sample_report(
    config: SampleConfig,
    dit: DiT,
    frozen: FrozenModels,
    source: SynthTalk,
    spec: StreamSpec,
    text_of: Callable[[int], Tensor],
    board: Board,
) -> dict[str, float]:
    """Samples videos, puts them under the true ones on the board, measures their lips."""
    rows: list[Tensor] = []
    report: dict[str, float] = {}
    frames = config.chunks * spec.new_frames
    probes = Probes.load() if config.lips else None
    kinds = {"free": 1.0} | ({"guided": config.guidance} if config.guidance != 1.0 else {})
    made: dict[str, list[Tensor]] = {kind: [] for kind in kinds}
    truths: list[Measurement] = []
    clips: list[Clip] = []
    tracks = []
    for utterance in range(min(config.videos, len(source))):
        whole = source.clip(utterance, 0, min(frames, source.config.frames))
        truth = video_from_frames(whole.frames)
        if probes is not None:
            truths.append(probes.measure(whole.frames))
            clips.append(load_clip(source, utterance, len(whole.tracks) / spec.fps))
        tracks.append(whole.tracks)
        rows.append(truth[0, :, ::7])
        for kind, guidance in kinds.items():
            video = talk_offline(
                config, dit, frozen, truth[:, :, :1], whole.pcm_16k, text_of(utterance), spec,
                guidance,
            )[:, :, : len(whole.tracks)]  # fmt: skip
            made[kind].append(video[0])
            rows.append(video[0, :, ::7].cpu())
    board.picture("samples", strip(rows))
    for kind, videos in made.items():
        joined = torch.cat(videos, dim=1)
        # A talking face that freezes has no deviation left.
        report[f"{kind}_motion"] = float(joined.diff(dim=1).abs().mean()) * 127.5
        if probes is not None:
            report[f"{kind}_lip_corr"] = quick_lip_corr(
                _pixels(joined), np.concatenate(tracks), probes
            )
            seen = [probes.measure(_pixels(video)) for video in videos]
            for part, names in _PARTS.items():
                report[f"{kind}_{part}_dyn"] = dynamic_ratio(
                    [one.stack(names) for one in seen], [one.stack(names) for one in truths]
                )
            report[f"{kind}_patched"] = float(np.mean([
                quick_patched(_pixels(video), clip, read)
                for video, clip, read in zip(videos, clips, seen, strict=True)
            ]))  # fmt: skip
            if config.chunks > 1:
                report[f"{kind}_drift"] = _drift([one.identity_TD for one in seen], spec)
    return report


def _drift(identities_TD: list[npt.NDArray[np.float32]], spec: StreamSpec) -> float:
    """How far the last chunk's person is from the first chunk's, mean over videos.

    In standard deviations of the population; two strangers lie 1.4 apart.
    """
    n, grown = spec.new_frames, []
    for identity_TD in identities_TD:
        first_D, last_D = identity_TD[:n].mean(0), identity_TD[-n:].mean(0)
        grown.append(float(np.sqrt(np.mean((last_D - first_D) ** 2))))
    return float(np.mean(grown))


def _pixels(video_CTHW: Tensor) -> npt.NDArray[np.uint8]:
    """[3, T, H, W] in [-1, 1] -> uint8 [T, H, W, 3]."""
    scaled = ((video_CTHW.clamp(-1, 1) + 1) * 127.5).byte()
    pixels: npt.NDArray[np.uint8] = scaled.permute(1, 2, 3, 0).contiguous().cpu().numpy()
    return pixels


@torch.no_grad()
def talk_offline(
    config: SampleConfig,
    dit: DiT,
    frozen: FrozenModels,
    portrait_BCTHW: Tensor,
    pcm_S: Pcm,
    text_BND: Tensor,
    spec: StreamSpec,
    guidance: float,
) -> Tensor:
    """A video [1, 3, 28 * chunks, H, W] in [-1, 1] of a portrait [1, 3, 1, H, W] and its speech."""
    device = text_BND.device
    portrait = portrait_BCTHW[:, :, 0]
    reference = frozen.video(reference_clip(portrait, spec.chunk_frames))
    y = reference_condition(reference)
    # Tokens, not keys and values: sharded blocks keep their projections to themselves.
    context = dit.embed_context(frozen.image(portrait), text_BND)
    state = SessionState.start(config.seed, reference, spec)
    noise = partial(chunk_noise, shape=state.shape, device=device)
    made = []
    for chunk in range(config.chunks):
        win = _speech(frozen, pcm_S, (chunk + 1) * spec.new_frames, spec).to(device)
        velocity = _velocity(dit, y, context, win, guidance)
        draws = partial(noise, config.seed, chunk)
        z = sample(velocity, state.motion_z, state.shape, sigmas(config.steps, config.shift), draws)
        video = frozen.decode(z)
        made.append(video[:, :, spec.motion_frames :])
        state = state.advance(frozen.video(video[:, :, -spec.motion_frames :].contiguous()))
    return torch.cat(made, dim=2)


def _speech(frozen: FrozenModels, pcm_S: Pcm, end_frame: int, spec: StreamSpec) -> Tensor:
    """Audio windows [1, T, W, L, D] of the chunk that ends before ``end_frame``."""
    window = torch.from_numpy(prepare_pcm(window_ending_at(pcm_S, end_frame, spec)))[None]
    features = frozen.speech(window, spec.window_s * spec.fps)
    return features[:, torch.from_numpy(chunk_window_indices(spec))]


def _velocity(
    dit: DiT, y: Tensor, context: ContextTokens, win: Tensor, guidance: float
) -> VelocityFn:
    audio = dit.embed_audio(win)
    null = dit.embed_audio(torch.zeros_like(win)) if guidance != 1.0 else None

    def velocity(x: Tensor, sigma: float) -> Tensor:
        t_B = timestep(x, sigma)
        v: Tensor = dit(x, t_B, y, context, audio)
        if null is None:
            return v
        return two_pass(v, dit(x, t_B, y, context, null), guidance)

    return velocity
