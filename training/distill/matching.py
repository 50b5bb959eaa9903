"""Self-correcting distillation: one update of the student, one of the fake score.

Report section 4.2. Three networks of one architecture: the student, which moves along the
difference of the real and the fake score; the fake score, which is trained on the student's
latents; the real score, frozen and guided.

Legend: B batch, K chunks, C latent channels, F latent frames, M motion latents, h w latent size,
N tokens, D width.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

from flashtalk.diffusion.condition import reference_condition
from flashtalk.diffusion.sample import VelocityFn
from flashtalk.diffusion.schedule import sigmas
from flashtalk.errors import InputError
from flashtalk.models.dit.model import DiT
from training.core.draws import SharedDraws
from training.data.batch import Stage2Batch
from training.distill.endpoint import EndpointConfig, endpoint_loss, path_end, path_levels
from training.distill.per_sample_rollout import levels_and_chunks, roll_out_per_sample
from training.distill.rollout import Exit, ExitOdds, ExitState, NextMotion, Previous, roll_out
from training.objective.conditions import Conditions, EmbeddedConditions, embed_conditions
from training.objective.dmd import (
    MotionPolicy,
    NoiseDraw,
    clean_motion,
    draw_noise,
    fake_loss,
    generated_mean,
    matching_gradient,
    matching_loss,
    predicted_x0,
    scorer_input,
    tie_loss,
)
from training.objective.motion_jitter import MotionJitter
from training.objective.velocity import Guidance, guided_velocity, velocity, velocity_from_embedded


@dataclass(frozen=True)
class MatchingConfig:
    """Settings of the student's loss.

    Args:
        exits: length of the rollout.
        previous: sampling of the chunks before the last (``rollout.Previous``).
        jitter: errors in the student's motion latents.
        policy: the scorers' treatment of the motion latents.
        guidance: of the real score.
        shift: of the sampler's noise levels.
        score_shift: of the scorers'. At 5 a sixth of them are below 0.5, at 2 a third, at 1 half.
        endpoint: regression on the endpoint of the real score's path.
    """

    exits: ExitOdds = field(default_factory=ExitOdds)
    previous: Previous = "full"
    jitter: MotionJitter = field(default_factory=MotionJitter)
    policy: MotionPolicy = field(default_factory=MotionPolicy)
    guidance: Guidance = field(default_factory=Guidance)
    shift: float = 5.0
    score_shift: float = 5.0
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)

    def __post_init__(self) -> None:
        if not 0 < self.score_shift <= 100:
            raise InputError("score_shift", self.score_shift, "above 0, at most 100")


@dataclass(frozen=True)
class Prompts:
    """Text tokens of a batch [B, N, D], and of the empty prompt."""

    text_BND: Tensor
    empty_BND: Tensor

    def rows(self, rows: Tensor) -> Prompts:
        """Returns those of some of the samples."""
        return Prompts(self.text_BND[rows], self.empty_BND[rows])


class Matching:
    """The two losses over three networks; stateless.

    Args:
        config: settings of the losses.
        student, fake, real: the networks.
        next_motion: motion latents after a chunk.
        bf16: compute in bfloat16 with the weights as they are.
        keys: the student's blocks can project keys and values ahead (``embed_conditions``).
    """

    def __init__(
        self,
        config: MatchingConfig,
        student: DiT,
        fake: DiT,
        real: DiT,
        next_motion: NextMotion,
        *,
        bf16: bool = False,
        keys: bool = True,
    ) -> None:
        self.config = config
        self.student, self.fake, self.real = student, fake, real
        self._next_motion, self._bf16, self._keys = next_motion, bf16, keys
        self._sigmas = sigmas(config.exits.steps, config.shift)

    def student_losses(
        self, batch: Stage2Batch, prompts: Prompts, at: Exit, draws: SharedDraws
    ) -> Mapping[str, Tensor]:
        """Returns the loss of the student, and the distance of the scores."""
        chunk = self._chunk(*self.roll_out(batch, prompts, at, draws, graph=True))
        return self._student_losses(chunk, batch, prompts, draws)

    def fake_losses(
        self, batch: Stage2Batch, prompts: Prompts, at: Exit, draws: SharedDraws
    ) -> Mapping[str, Tensor]:
        """Returns the loss of the fake score on the student's latents."""
        with torch.no_grad():
            state, raw = self.roll_out(batch, prompts, at, draws, graph=False)
        return self.fake_losses_at(batch, prompts, state, raw, draws)

    def student_losses_at(
        self, batch: Stage2Batch, prompts: Prompts, state: ExitState, draws: SharedDraws
    ) -> Mapping[str, Tensor]:
        """Returns ``student_losses`` of an existing rollout up to its exits."""
        chunk = self._chunk(state, self._raw_at(batch, prompts, state))
        return self._student_losses(chunk, batch, prompts, draws)

    def fake_losses_at(
        self,
        batch: Stage2Batch,
        prompts: Prompts,
        state: ExitState,
        raw_BCFHW: Tensor,
        draws: SharedDraws,
    ) -> Mapping[str, Tensor]:
        """Returns ``fake_losses`` of an existing rollout and the student's prediction of it."""
        chunk = self._chunk(state, raw_BCFHW)
        return {"loss": self._score_loss(self.fake, chunk, batch, prompts, draws)}

    @torch.no_grad()
    def fake_lag(
        self, batch: Stage2Batch, prompts: Prompts, at: Exit, draws: SharedDraws
    ) -> tuple[float, float]:
        """Returns losses of the fake and of the unguided real score on the same student latents.

        The fake's must be lower, else the student's gradient points in a wrong direction.
        """
        chunk = self._chunk(*self.roll_out(batch, prompts, at, draws, graph=False))
        before = draws.generator.get_state()
        losses = []
        for net in (self.fake, self.real):
            draws.generator.set_state(before)  # both get the same noisy latents
            losses.append(float(self._score_loss(net, chunk, batch, prompts, draws)))
        return losses[0], losses[1]

    def roll_out(
        self, batch: Stage2Batch, prompts: Prompts, at: Exit, draws: SharedDraws, *, graph: bool
    ) -> tuple[ExitState, Tensor]:
        """Samples the student's own chunks up to the exit; returns as ``rollout.roll_out``."""

        def velocity_of(chunk: int) -> VelocityFn:
            given = self._conditions(batch, prompts, torch.full_like(batch.held_B, chunk))
            embedded = self._embedded(given)

            def velocity_in_chunk(x: Tensor, sigma: float) -> Tensor:
                sigma_B = torch.full((len(x),), sigma)
                if torch.is_grad_enabled():
                    return velocity(self.student, x, sigma_B, given, bf16=self._bf16)
                return velocity_from_embedded(self.student, x, sigma_B, embedded, bf16=self._bf16)

            return velocity_in_chunk

        return roll_out(
            velocity_of,
            batch.motion_BCMHW,
            tuple(batch.reference_BCFHW.shape),
            self._sigmas,
            at,
            self._next_motion,
            draws,
            previous=self.config.previous,
            jitter=self.config.jitter,
            graph=graph,
        )

    @torch.no_grad()
    def roll_out_per_sample(
        self,
        batch: Stage2Batch,
        prompts: Prompts,
        exits: Sequence[Exit],
        mine: slice,
        draws: SharedDraws,
    ) -> tuple[ExitState, Tensor]:
        """Samples the student's chunks up to an exit of each sample, and its predictions there.

        Args:
            batch, prompts: this rank's samples.
            exits: of the samples of all ranks.
            mine: the slice of this rank.
            draws: source of all noise.

        Returns:
            The inputs of the evaluations at the exits, and their clean latents as predicted.
        """

        @functools.lru_cache(1)
        def embedded_in(chunk: int) -> EmbeddedConditions:
            return self._embedded(
                self._conditions(batch, prompts, torch.full_like(batch.held_B, chunk))
            )

        def velocity_of(chunk: int, rows: Tensor) -> VelocityFn:
            embedded = embedded_in(chunk)
            embedded = embedded if len(rows) == len(batch.held_B) else embedded.rows(rows)
            return lambda x, sigma: velocity_from_embedded(
                self.student, x, torch.full((len(x),), sigma), embedded, bf16=self._bf16
            )

        latents = batch.true_motion_BKCMHW.shape[3]
        missing = latents - batch.motion_BCMHW.shape[2]
        state = roll_out_per_sample(
            velocity_of,
            functional.pad(batch.motion_BCMHW, (0, 0, 0, 0, 0, missing)),
            batch.held_B,
            tuple(batch.reference_BCFHW.shape),
            self._sigmas,
            exits,
            mine,
            self._next_motion,
            draws,
            previous=self.config.previous,
            jitter=self.config.jitter,
        )
        return state, self._raw_at(batch, prompts, state)

    @torch.no_grad()
    def _embedded(self, given: Conditions) -> EmbeddedConditions:
        return embed_conditions(self.student, given, bf16=self._bf16, keys=self._keys)

    def exit_state(
        self, batch: Stage2Batch, exits: Sequence[Exit], x_BCFHW: Tensor, motion_BCMHW: Tensor
    ) -> ExitState:
        """Returns the state of ``roll_out_per_sample`` for these exits, from stored latents."""
        sigma_B, chunk_B = levels_and_chunks(exits, self._sigmas, x_BCFHW.device)
        held_B = torch.where(chunk_B == 0, batch.held_B, motion_BCMHW.shape[2])
        return ExitState(x_BCFHW, sigma_B, motion_BCMHW, held_B, chunk_B)

    def _raw_at(self, batch: Stage2Batch, prompts: Prompts, state: ExitState) -> Tensor:
        given = self._conditions(batch, prompts, state.chunk_B)
        v = velocity(self.student, state.x_BCFHW, state.sigma_B, given, bf16=self._bf16)
        return state.clean(v)

    def _chunk(self, state: ExitState, raw_BCFHW: Tensor) -> _Chunk:
        x0 = raw_BCFHW if self.config.policy.calc_loss else state.with_motion(raw_BCFHW)
        return _Chunk(x0, raw_BCFHW, state)

    def _student_losses(
        self, chunk: _Chunk, batch: Stage2Batch, prompts: Prompts, draws: SharedDraws
    ) -> Mapping[str, Tensor]:
        policy, x0, held_B = self.config.policy, chunk.x0_BCFHW, chunk.state.held_B
        with torch.no_grad():
            given = self._conditions(batch, prompts, chunk.state.chunk_B)
            drawn = draw_noise(tuple(x0.shape), policy, draws, self.config.score_shift)
            seen = replace(chunk, x0_BCFHW=x0.detach())
            fake = self._fake_x0(seen, drawn, given)
            real = self._real_x0(seen, batch, drawn, given, prompts)
            gradient = matching_gradient(x0, fake, real, held_B)
            apart = generated_mean((x0 - real).abs(), held_B).mean()
            size = generated_mean(gradient.abs(), held_B).mean()
        loss = matching_loss(x0, gradient, held_B, policy)
        if policy.tie:
            loss = loss + policy.tie * tie_loss(chunk.raw_BCFHW, real, held_B)
        losses = {"distance": apart, "gradient": size}
        if self.config.endpoint.weight:
            drawn_to = endpoint_loss(x0, self._endpoint(chunk.state, given, prompts), held_B)
            loss = loss + self.config.endpoint.weight * drawn_to
            losses["endpoint"] = drawn_to.detach()
        return {"loss": loss, **losses}

    def _endpoint(self, state: ExitState, given: Conditions, prompts: Prompts) -> Tensor:
        """Returns the endpoints of the real score's paths from the student's noisy latents."""

        def along(x_BCFHW: Tensor, sigma_B: Tensor) -> Tensor:
            return guided_velocity(
                self.real,
                x_BCFHW,
                sigma_B,
                given,
                prompts.empty_BND,
                self.config.guidance,
                bf16=self._bf16,
            )

        levels_NB = path_levels(state.sigma_B, self.config.endpoint.steps, self.config.shift)
        return path_end(along, state.x_BCFHW, state.motion_BCMHW, state.held_B, levels_NB)

    def _score_loss(
        self, net: DiT, chunk: _Chunk, batch: Stage2Batch, prompts: Prompts, draws: SharedDraws
    ) -> Tensor:
        """Returns a score's loss on the student's chunk, without guidance."""
        policy, x0 = self.config.policy, chunk.x0_BCFHW
        given = self._conditions(batch, prompts, chunk.state.chunk_B)
        drawn = draw_noise(tuple(x0.shape), policy, draws, self.config.score_shift)
        x = scorer_input(x0, x0, drawn, chunk.state.held_B)
        v = velocity(net, x, drawn.sigma_B, given, bf16=self._bf16)
        return fake_loss(v, x0, drawn.noise_BCFHW, chunk.state.held_B, policy)

    def _fake_x0(self, chunk: _Chunk, drawn: NoiseDraw, given: Conditions) -> Tensor:
        x = scorer_input(chunk.x0_BCFHW, chunk.x0_BCFHW, drawn, chunk.state.held_B)
        v = velocity(self.fake, x, drawn.sigma_B, given, bf16=self._bf16)
        return predicted_x0(x, v, drawn.sigma_B)

    def _real_x0(
        self,
        chunk: _Chunk,
        batch: Stage2Batch,
        drawn: NoiseDraw,
        given: Conditions,
        prompts: Prompts,
    ) -> Tensor:
        x0 = motion = chunk.x0_BCFHW
        if self.config.policy.source == "gt":
            motion = batch.true_motion_BKCMHW[torch.arange(len(x0)), chunk.state.chunk_B]
        if not self.config.policy.teacher_noise:
            drawn = clean_motion(drawn)
        x = scorer_input(x0, motion, drawn, chunk.state.held_B)
        v = guided_velocity(
            self.real,
            x,
            drawn.sigma_B,
            given,
            prompts.empty_BND,
            self.config.guidance,
            bf16=self._bf16,
        )
        return predicted_x0(x, v, drawn.sigma_B)

    def _conditions(self, batch: Stage2Batch, prompts: Prompts, chunk_B: Tensor) -> Conditions:
        return Conditions(
            reference_condition(batch.reference_BCFHW),
            batch.image_BND,
            prompts.text_BND,
            batch.speech_BKTWLD[torch.arange(len(chunk_B)), chunk_B],
        )


@dataclass(frozen=True)
class _Chunk:
    """The scorers' input: the student's latents, with the motion latents of each at their head; its
    prediction there; and its conditions."""

    x0_BCFHW: Tensor
    raw_BCFHW: Tensor
    state: ExitState
