"""Speech, portrait and motion to the latents of a chunk (report sections 3.1 and 3.3).

Legend: B batch (1), C channels, F latent frames, H W latent size, T video frames, W window,
L layers of the speech encoder, D width, N tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from flashtalk.diffusion.condition import reference_condition
from flashtalk.diffusion.guidance import two_pass
from flashtalk.diffusion.noise import chunk_noise
from flashtalk.diffusion.sample import VelocityFn, sample, sample_euler
from flashtalk.diffusion.schedule import TRAIN_STEPS, sigmas
from flashtalk.diffusion.state import DiffusionState
from flashtalk.engine.sampling import Sampling
from flashtalk.models.dit.conditions import Audio, Context, ContextKV, TimeEmbedding
from flashtalk.models.dit.model import DiT

_KEPT_SETTINGS = 8
_SAMPLERS = {"renoise": sample, "euler": sample_euler}


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What the network is told in every chunk of a session; computed once.

    Args:
        digest: hex name of portrait and prompt (and weights): equal inputs, equal name.
        context: of the portrait and the prompt: keys and values for every layer, or the tokens that
            they are made of.
        y_BCFHW: [1, 20, 9, h, w] mask and latents of the portrait, in the network's dtype.
    """

    digest: str
    context: Context
    y_BCFHW: Tensor


def conditioning_digest(
    portrait_digest: str, reference_z: Tensor, prompt: str, weights_digest: str = ""
) -> str:
    """Hex name of a conditioning: equal inputs, equal name.

    Args:
        portrait_digest: of the portrait (``codec.portrait_digest``).
        reference_z: [1, 16, 9, h, w] float32 latents of the portrait: two kinds of machines agree
            on them only nearly.
        prompt: the text.
        weights_digest: name of the weights.
    """
    latents = np.ascontiguousarray(reference_z.detach().float().cpu().numpy())
    # Everything before the prompt is a name or a digest of fixed length, so that no two inputs
    # are the same row of bytes.
    parts = (weights_digest, portrait_digest, hashlib.sha256(latents.tobytes()).hexdigest())
    return hashlib.sha256("/".join((*parts, prompt)).encode()).hexdigest()


class Denoiser:
    """The network and its samplers. Keeps nothing of a session; what the network reads of the noise
    levels is kept for the last few settings.

    Args:
        dit: the transformer, in evaluation mode on its device; its weights stay as they are for as
            long as this denoiser is used.
    """

    def __init__(self, dit: DiT) -> None:
        self.dit = dit
        self._times = lru_cache(_KEPT_SETTINGS)(self._embed_levels)

    def conditioned(
        self,
        tokens_BND: Tensor,
        text_BND: Tensor,
        reference_z: Tensor,
        digest: str,
        *,
        projected: bool = True,
    ) -> Conditioning:
        """A conditioning of what was encoded before, here or elsewhere.

        Args:
            tokens_BND, text_BND: of ``ConditionEncoders.embed``; they may have been float32 in
                between.
            reference_z: [1, 16, 9, h, w] latents of the portrait (``Reference.z_BCFHW``).
            digest: its name (``conditioning_digest``).
            projected: keys and values once for the session. A network whose blocks are sharded
                keeps its projections to itself: then tokens go into every evaluation.

        Raises:
            InputError: tokens that do not fit the transformer, or latents without five axes.
        """
        embed = self.dit.encode_context if projected else self.dit.embed_context
        with _without_gradients(projected):
            return Conditioning(
                digest=digest,
                context=embed(tokens_BND.to(self._device), text_BND.to(self._device)),
                y_BCFHW=reference_condition(reference_z.to(self._device)).to(self.dit.dtype),
            )

    def denoise(
        self,
        conditioning: Conditioning,
        windows_BTWLD: Tensor,
        state: DiffusionState,
        sampling: Sampling,
        *,
        before_step: Callable[[], None] | None = None,
    ) -> Tensor:
        """Sample one chunk.

        Args:
            conditioning: of the session. Whether it holds keys and values or tokens decides which
                of the two speech becomes.
            windows_BTWLD: [1, 33, W, L, D] speech of the chunk (``AudioEncoder``).
            state: names the chunk and its noise, and holds the motion latents that it continues.
            sampling: steps and guidance.
            before_step: called before each evaluation of the network; what it raises ends the
                chunk, which nobody wants any more.

        Returns:
            [1, 16, 9, h, w] float32 latents, the motion latents at their head. Equal arguments
            give equal bits on the same kind of machine.
        """
        device = self._device

        def noise(step: int) -> Tensor:
            return chunk_noise(state.seed, state.chunk_index, step, state.shape, device)

        levels = sigmas(sampling.steps, sampling.shift)
        with _without_gradients(isinstance(conditioning.context, ContextKV)):
            velocity = self._velocity(conditioning, windows_BTWLD.to(device), levels, sampling)

            def watched(x_BCFHW: Tensor, sigma: float) -> Tensor:
                if before_step is not None:
                    before_step()
                return velocity(x_BCFHW, sigma)

            return _SAMPLERS[sampling.sampler](
                watched,
                state.motion_z.to(device),
                state.shape,
                levels,
                noise,
            )

    def _embed_levels(self, levels: Sequence[float]) -> TimeEmbedding:
        """Of all noise levels of a setting in one batch."""
        t_B = torch.tensor([TRAIN_STEPS * level for level in levels], device=self._device)
        return self.dit.embed_time(t_B)

    @property
    def _device(self) -> torch.device:
        return next(self.dit.parameters()).device

    def _velocity(
        self,
        conditioning: Conditioning,
        windows_BTWLD: Tensor,
        levels: Sequence[float],
        sampling: Sampling,
    ) -> VelocityFn:
        """The network as a function of noisy latents and noise level, everything else given.

        Guided, every evaluation is a batch of two: with the speech, and with the zero tensor that
        stands for no speech (training specification 1.3).
        """
        y, context, guidance = conditioning.y_BCFHW, conditioning.context, sampling.audio_guidance
        times = self._times(levels)
        if guidance == 1:
            audio = self._audio(windows_BTWLD, context)
            alone = {level: times.row(index, 1) for index, level in enumerate(levels)}
            return lambda x, sigma: self.dit(x, alone[sigma], y, context, audio)
        pair = torch.cat((windows_BTWLD, torch.zeros_like(windows_BTWLD)))
        both_audio = self._audio(pair, context)
        both_context, both_y = context.expand(2), y.expand(2, *y.shape[1:])

        pairs = {level: times.row(index, 2) for index, level in enumerate(levels)}

        def guided(x_BCFHW: Tensor, sigma: float) -> Tensor:
            x = torch.cat((x_BCFHW, x_BCFHW))
            heard, deaf = self.dit(x, pairs[sigma], both_y, both_context, both_audio).chunk(2)
            return two_pass(heard, deaf, guidance)

        return guided

    def _audio(self, windows_BTWLD: Tensor, context: Context) -> Audio:
        """Speech in the form that portrait and prompt have."""
        if isinstance(context, ContextKV):
            return self.dit.encode_audio(windows_BTWLD)
        return self.dit.embed_audio(windows_BTWLD)


def _without_gradients(projected: bool) -> AbstractContextManager[None]:
    """Inference mode, but not for a network that goes on being trained: weights that are gathered
    from their shards in it could not be used for a gradient afterwards."""
    return torch.inference_mode() if projected else torch.no_grad()
