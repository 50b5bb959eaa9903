"""Computes a chunk's latents from speech, portrait and motion (report sections 3.1 and 3.3).

Legend: B batch (1), C channels, F latent frames, H W latent size, T video frames, W window,
L layers of the speech encoder, D width, N tokens.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
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
from flashtalk.engine.encoders import EncodedPrompt
from flashtalk.engine.sampling import Sampling
from flashtalk.errors import InputError
from flashtalk.models.dit.conditions import (
    Audio,
    Context,
    ContextKV,
    ContextTokens,
    TimeEmbedding,
)
from flashtalk.models.dit.model import DiT
from flashtalk.models.flashhead.model import FlashHead

_KEPT_SETTINGS = 8
_SAMPLERS = {"renoise": sample, "euler": sample_euler}


@dataclass(frozen=True, eq=False)
class Conditioning:
    """The network's inputs that are constant in a session; computed once.

    Args:
        digest: hex digest of portrait and prompt (and weights): equal inputs, equal digest.
        context: of the portrait and the prompt: keys and values for every layer, or the tokens
            before projection; ``None``: the network takes neither.
        y_BCFHW: [1, 20, 9, h, w] mask and latents of the portrait (without a mask: [1, C, F, h, w]
            latents), in the network's dtype.
    """

    digest: str
    context: Context | None
    y_BCFHW: Tensor


def conditioning_digest(
    portrait_digest: str, reference_z: Tensor, prompt: str, weights_digest: str = ""
) -> str:
    """Returns the hex digest of a conditioning: equal inputs, equal digest.

    Args:
        portrait_digest: of the portrait (``codec.portrait_digest``).
        reference_z: [1, 16, 9, h, w] float32 latents of the portrait; different kinds of machines
            compute slightly different values.
        prompt: the text.
        weights_digest: digest of the weights.
    """
    latents = np.ascontiguousarray(reference_z.detach().float().cpu().numpy())
    # Everything before the prompt has a fixed length, so that different inputs never give the same
    # bytes.
    parts = (weights_digest, portrait_digest, hashlib.sha256(latents.tobytes()).hexdigest())
    return hashlib.sha256("/".join((*parts, prompt)).encode()).hexdigest()


Network = DiT | FlashHead
"""The networks of the presets: velocity of noisy latents, under different conditions."""

Evaluate = Callable[[Tensor, TimeEmbedding], Tensor]
"""``(x [B, C, F, H, W], noise level) -> v [B, C, F, H, W]``: a network with its conditions."""


class Denoiser(ABC):
    """A network and its samplers. Stateless, except for the cached embeddings of the noise levels
    of the last few settings.

    Attributes:
        network: in evaluation mode on its device; its weights must not change while this denoiser
            is used.
    """

    network: Network

    def __init__(self) -> None:
        self._times = lru_cache(_KEPT_SETTINGS)(self._embed_levels)

    @abstractmethod
    def conditioned(
        self,
        encoded: EncodedPrompt | None,
        reference_z: Tensor,
        digest: str,
        *,
        projected: bool = True,
    ) -> Conditioning:
        """Creates a conditioning from encoded inputs.

        Args:
            encoded: result of ``Encoders.embed``; its tokens may have been converted to float32.
            reference_z: [1, 16, 9, h, w] latents of the portrait (``Reference.z_BCFHW``).
            digest: its digest (``conditioning_digest``).
            projected: projects to keys and values once per session. False for a network with
                sharded blocks, which projects tokens in every evaluation.

        Raises:
            InputError: tokens that do not fit the network, or latents without five axes.
        """

    @abstractmethod
    def evaluation(self, conditioning: Conditioning, windows_BTWLD: Tensor) -> Evaluate:
        """Returns the network for a batch of as many windows, of one conditioning.

        Args:
            conditioning: of the session. Speech gets the same form, keys and values or tokens.
            windows_BTWLD: [B, 33, W, L, D] speech of the chunk (``AudioEncoder``).
        """

    def denoise(
        self,
        conditioning: Conditioning,
        windows_BTWLD: Tensor,
        state: DiffusionState,
        sampling: Sampling,
        *,
        before_step: Callable[[], None] | None = None,
    ) -> Tensor:
        """Samples one chunk.

        Args:
            conditioning: of the session. Speech gets the same form, keys and values or tokens.
            windows_BTWLD: [1, 33, W, L, D] speech of the chunk (``AudioEncoder``).
            state: chunk index and seed of the noise, and the motion latents that it continues.
            sampling: steps and guidance.
            before_step: called before each evaluation of the network; an exception from it cancels
                the chunk.

        Returns:
            [1, 16, 9, h, w] float32 latents that begin with the motion latents. Equal arguments
            give equal bits on the same kind of machine.
        """
        device = self._device

        def noise(step: int) -> Tensor:
            return chunk_noise(state.seed, state.chunk_index, step, state.shape, device)

        levels = sigmas(sampling.steps, sampling.shift)
        with without_gradients(not isinstance(conditioning.context, ContextTokens)):
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
        """Embeds all noise levels of a setting in one batch."""
        t_B = torch.tensor([TRAIN_STEPS * level for level in levels], device=self._device)
        return self.network.embed_time(t_B)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _velocity(
        self,
        conditioning: Conditioning,
        windows_BTWLD: Tensor,
        levels: Sequence[float],
        sampling: Sampling,
    ) -> VelocityFn:
        """Returns the network as a function of noisy latents and noise level.

        With guidance, every evaluation is a batch of two: with the speech, and with a zero tensor
        as the dropped speech.
        """
        guidance, times = sampling.audio_guidance, self._times(levels)
        if guidance == 1:
            alone = self.evaluation(conditioning, windows_BTWLD)
            time_of = {level: times.row(index, 1) for index, level in enumerate(levels)}
            return lambda x, sigma: alone(x, time_of[sigma])
        pair = torch.cat((windows_BTWLD, torch.zeros_like(windows_BTWLD)))
        both = self.evaluation(conditioning, pair)
        pair_of = {level: times.row(index, 2) for index, level in enumerate(levels)}

        def guided(x_BCFHW: Tensor, sigma: float) -> Tensor:
            heard, deaf = both(torch.cat((x_BCFHW, x_BCFHW)), pair_of[sigma]).chunk(2)
            return two_pass(heard, deaf, guidance)

        return guided


class DiTDenoiser(Denoiser):
    """The DiT: conditioned on image and text tokens, and the portrait's latents with a mask."""

    network: DiT

    def __init__(self, dit: DiT) -> None:
        super().__init__()
        self.network = dit

    def conditioned(
        self,
        encoded: EncodedPrompt | None,
        reference_z: Tensor,
        digest: str,
        *,
        projected: bool = True,
    ) -> Conditioning:
        """Creates a conditioning; arguments and errors as ``Denoiser.conditioned``."""
        if encoded is None:
            raise InputError("tokens", "none", "those of portrait and prompt")
        dit = self.network
        embed = dit.encode_context if projected else dit.embed_context
        with without_gradients(projected):
            return Conditioning(
                digest=digest,
                context=embed(*(tokens_BND.to(self._device) for tokens_BND in encoded)),
                y_BCFHW=reference_condition(reference_z.to(self._device)).to(dit.dtype),
            )

    def evaluation(self, conditioning: Conditioning, windows_BTWLD: Tensor) -> Evaluate:
        """Gives speech the form of the context: keys and values, or tokens."""
        dit, context, y = self.network, conditioning.context, conditioning.y_BCFHW
        assert context is not None, "made by ``conditioned``"
        project = dit.encode_audio if isinstance(context, ContextKV) else dit.embed_audio
        audio: Audio = project(windows_BTWLD)
        if (batch := len(windows_BTWLD)) > 1:
            context, y = context.expand(batch), y.expand(batch, *y.shape[1:])
        return lambda x, time: dit(x, time, y, context, audio)


def without_gradients(projected: bool) -> AbstractContextManager[None]:
    """Inference mode, or no_grad for a network that will be trained: weights gathered from shards
    in inference mode could not be used for gradients later."""
    return torch.inference_mode() if projected else torch.no_grad()
